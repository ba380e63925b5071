// The graph in the page: what the API answered, the filters, communities, and positions that stay between visits.

import Graph, { UndirectedGraph } from "graphology";
import louvain from "graphology-communities-louvain";
import type { Edge, Note } from "./api";

export interface Filters {
  depth: number; type: string; minWeight: number; tag: string; maxAgeDays: number; maxDegree: number;
}
export interface NodeAttributes {
  label: string; x: number; y: number; size: number; tags: string[]; created: number; community: number; known: boolean;
  hiddenNote: boolean;
}
// The distance between notes before a layout, in the units of the layout.
const SPACING = 12;
export interface EdgeAttributes { edge: Edge; size: number }
export type View = Graph<NodeAttributes, EdgeAttributes>;

export function newView(): View {
  return new Graph<NodeAttributes, EdgeAttributes>({ multi: true, type: "mixed", allowSelfLoops: false });
}

export function edgeKey(edge: Edge): string {
  return `${edge.sourceId}\n${edge.targetId}\n${edge.type}`;
}

/** Adds a note, or the facts of one that an edge named first. */
export function putNote(view: View, note: Note): void {
  const facts = {
    label: note.title || note.nodeId, tags: note.tags ?? [], known: true,
    created: note.createTime ? Date.parse(note.createTime) : 0,
  };
  if (view.hasNode(note.nodeId)) view.mergeNodeAttributes(note.nodeId, facts);
  else view.addNode(note.nodeId, { ...fresh(note.nodeId), ...facts });
}

/** Adds an edge or replaces its facts; answers whether it is new. */
export function putEdge(view: View, edge: Edge): boolean {
  for (const end of [edge.sourceId, edge.targetId]) if (!view.hasNode(end)) view.addNode(end, fresh(end));
  const key = edgeKey(edge);
  const attributes = { edge, size: 0.4 + 2 * (edge.weight ?? 0) };
  if (view.hasEdge(key)) { view.mergeEdgeAttributes(key, attributes); return false; }
  if (edge.sourceId === edge.targetId) return false;
  if (edge.directed) view.addDirectedEdgeWithKey(key, edge.sourceId, edge.targetId, attributes);
  else view.addUndirectedEdgeWithKey(key, edge.sourceId, edge.targetId, attributes);
  return true;
}

export function dropEdge(view: View, edge: Edge): void {
  if (view.hasEdge(edgeKey(edge))) view.dropEdge(edgeKey(edge));
}

/** Adds the notes of most edges and the heaviest edges first: the first ones are drawn while the picture moves. */
export function fill(view: View, notes: Note[], edges: Edge[]): void {
  const degrees = new Map<string, number>();
  for (const { sourceId, targetId } of edges) for (const id of [sourceId, targetId]) degrees.set(id, (degrees.get(id) ?? 0) + 1);
  notes.sort((a, b) => (degrees.get(b.nodeId) ?? 0) - (degrees.get(a.nodeId) ?? 0));
  edges.sort((a, b) => (b.weight ?? 0) - (a.weight ?? 0));
  for (const note of notes) putNote(view, note);
  for (const edge of edges) putEdge(view, edge);
}

/** Sizes by degree and communities by Louvain, seeded so that a reload gives the same colours. */
export function measure(view: View): void {
  view.updateEachNodeAttributes((id, attributes) =>
    ({ ...attributes, size: 2 + 1.6 * Math.sqrt(view.degree(id)) }), { attributes: ["size"] });
  if (view.size === 0) return;
  // Louvain takes no graph that has directed and undirected edges: two notes are as near as the weights between them.
  const plain = new UndirectedGraph<object, { weight: number }>();
  view.forEachNode((id) => plain.addNode(id));
  view.forEachEdge((_, { edge }, source, target) =>
    plain.updateEdge(source, target, (before) => ({ weight: (before.weight ?? 0) + (edge.weight || 0.01) })));
  const found = louvain(plain, { rng: seeded(7) });
  const sizes = new Map<number, number>();
  for (const community of Object.values(found)) sizes.set(community, (sizes.get(community) ?? 0) + 1);
  const ranked = [...sizes.entries()].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const rank = new Map(ranked.map(([community], index) => [community, index]));
  view.updateEachNodeAttributes((id, attributes) =>
    ({ ...attributes, community: rank.get(found[id]!) ?? 0 }), { attributes: ["community"] });
}

/**
 * Places the notes: at the stored place, or else near the notes of their community. Answers how many had no stored place.
 * Communities without any stored place lie on a spiral, the largest in the middle; a layout begins well from there.
 */
export function place(view: View, positions: Map<string, [number, number]>): number {
  interface Room { x: number; y: number; placed: number; notes: number }
  const rooms = new Map<number, Room>();
  view.forEachNode((id, { community }) => {
    const room = rooms.get(community) ?? { x: 0, y: 0, placed: 0, notes: 0 };
    const at = positions.get(id);
    if (at) { room.x += at[0]; room.y += at[1]; room.placed++; }
    room.notes++;
    rooms.set(community, room);
  });
  let before = 0;
  for (const [, room] of [...rooms].sort((a, b) => a[0] - b[0])) {
    // So far from the middle that the communities before it have room.
    const turn = 2.4 * before ** 0.5, radius = SPACING * Math.sqrt(before + room.notes / 2);
    if (room.placed) { room.x /= room.placed; room.y /= room.placed; }
    else { room.x = radius * Math.cos(turn); room.y = radius * Math.sin(turn); }
    before += room.notes;
  }
  let missing = 0;
  view.updateEachNodeAttributes((id, attributes) => {
    const at = positions.get(id);
    if (at) return { ...attributes, x: at[0], y: at[1] };
    missing++;
    const room = rooms.get(attributes.community)!;
    const random = seeded(hash(id)), angle = 2 * Math.PI * random(), radius = SPACING * Math.sqrt(room.notes * random() / 4);
    return { ...attributes, x: room.x + radius * Math.cos(angle), y: room.y + radius * Math.sin(angle) };
  }, { attributes: ["x", "y"] });
  return missing;
}

/** The notes within `depth` steps of a note, itself included. */
export function around(view: View, start: string, depth: number): Set<string> {
  const seen = new Set([start]);
  let edge = [start];
  for (let step = 0; step < depth; step++) {
    const next: string[] = [];
    for (const id of edge) view.forEachNeighbor(id, (other) => { if (!seen.has(other)) { seen.add(other); next.push(other); } });
    edge = next;
  }
  return seen;
}

/** Whether the filters show a note; `local` is the set of around() or null for everything. */
export function showsNode(view: View, id: string, filters: Filters, local: Set<string> | null, now: number): boolean {
  const node = view.getNodeAttributes(id);
  if (node.hiddenNote || (local && !local.has(id))) return false;
  if (filters.tag && !node.tags.some((tag) => tag === filters.tag || tag.startsWith(`${filters.tag}/`))) return false;
  if (filters.maxAgeDays && node.created < now - filters.maxAgeDays * 86_400_000) return false;
  return !(filters.maxDegree && view.degree(id) > filters.maxDegree);
}

export function showsEdge(edge: Edge, filters: Filters): boolean {
  return (!filters.type || edge.type === filters.type) && (edge.weight ?? 0) >= filters.minWeight;
}

/** What is known of a note that only an edge has named; place() and nearby() move it. */
function fresh(id: string): NodeAttributes {
  const random = seeded(hash(id));
  return {
    label: id, x: 100 * (random() - 0.5), y: 100 * (random() - 0.5), size: 2, tags: [], created: 0, community: 0,
    known: false, hiddenNote: false,
  };
}

function hash(text: string): number {
  let value = 2166136261;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  return value >>> 0;
}

/** Random numbers in [0, 1) from a seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// ---------------------------------------------------------------- positions, kept in the browser by user
const STORE = "positions";

function database(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("brain2-view", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** node_id -> [x, y] of the last visit; empty when there was none or the browser keeps nothing. */
export async function storedPositions(userId: string): Promise<Map<string, [number, number]>> {
  try {
    const db = await database();
    return await new Promise((resolve) => {
      const request = db.transaction(STORE).objectStore(STORE).get(userId);
      request.onsuccess = () => resolve(request.result ?? new Map());
      request.onerror = () => resolve(new Map());
    });
  } catch { return new Map(); }
}

/** Keep the positions for the next visit; resolved when they are stored, or can't be. */
export async function storePositions(userId: string, view: View): Promise<void> {
  const positions = new Map<string, [number, number]>();
  view.forEachNode((id, { x, y }) => positions.set(id, [x, y]));
  try {
    const db = await database();
    const transaction = db.transaction(STORE, "readwrite");
    transaction.objectStore(STORE).put(positions, userId);
    await new Promise<void>((resolve) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => resolve();
    });
  } catch { /* private windows keep nothing; the page works without */ }
}
