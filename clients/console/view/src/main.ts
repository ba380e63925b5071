// The page: loads a user's graph, draws it with sigma, keeps it current by WatchEdges, and lets a person act on links.

import Sigma from "sigma";
import FA2Layout from "graphology-layout-forceatlas2/worker";
import { inferSettings } from "graphology-layout-forceatlas2";
import { Api, CallError, type Change, type Edge, type Hit, type Note } from "./api";
import * as look from "./look";
import * as model from "./model";
import { limited, Motion } from "./motion";

// A layout runs in its worker for so long, by the number of notes; then positions are stored and stay.
const layoutSeconds = (notes: number) => Math.min(25, 3 + notes / 1500);
// So long the lists wait for the watch: a service that is busy must not keep the page empty.
const WATCH_WAIT_MS = 2000;
// Above this many edges, those of other notes are hidden while a note is chosen.
const MANY_EDGES = 30_000;
// So many groups are named in the legend.
const NAMED_GROUPS = 8;

const $ = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const element = <K extends keyof HTMLElementTagNameMap>(tag: K, text = "", className = "") => {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
};
const dark = matchMedia("(prefers-color-scheme: dark)");

class Page {
  private view = model.newView();
  private sigma: Sigma<model.NodeAttributes, model.EdgeAttributes> | null = null;
  private layout: FA2Layout | null = null;
  private motion: Motion | null = null;
  private watching = new AbortController();
  private chosen: string | null = null;
  private hovered: string | null = null;
  private local: Set<string> | null = null;
  private shown = new Set<string>();
  private filters: model.Filters = { depth: 0, type: "", minWeight: 0, tag: "", maxAgeDays: 0, maxDegree: 0 };
  private api = new Api("", "");

  async show(userId: string, token: string): Promise<void> {
    this.stop();
    this.api = new Api(userId, token);
    this.view = model.newView();
    this.chosen = null;
    const began = performance.now();
    say("Loading notes …");
    this.watching = new AbortController();
    const early: Change[] = [];
    let live = false;
    // The lists are read when the watch has begun, so that no change falls between them. Without a watch they are read, too.
    const begun = new Promise<void>((resolve) => {
      void this.watch((change) => { resolve(); if (live) this.apply(change); else early.push(change); }).then(resolve);
      setTimeout(resolve, WATCH_WAIT_MS);
    });
    const [positions] = await Promise.all([model.storedPositions(userId), begun.then(() => this.load())]);
    for (const change of early) this.apply(change);
    live = true;
    model.measure(this.view);
    const missing = model.place(this.view, positions);
    this.choices();
    this.draw();
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    say(`${count(this.view.order, "note")}, ${count(this.view.size, "link")}, loaded in ${seconds} s`);
    document.body.dataset["ready"] = String(Math.round(performance.now() - began));
    if (missing > this.view.order * 0.02) this.arrange();
  }

  private async load(): Promise<void> {
    const notes: Note[] = [], edges: Edge[] = [];
    await Promise.all([
      (async () => { for await (const part of this.api.notes()) notes.push(...part); })(),
      (async () => { for await (const part of this.api.edges()) edges.push(...part); })(),
    ]);
    model.fill(this.view, notes, edges);
  }

  private stop(): void {
    this.watching.abort();
    this.layout?.kill();
    this.layout = null;
    this.sigma?.kill();
    this.sigma = null;
    this.motion = null;
    this.hovered = null;
    delete document.body.dataset["ready"];
    this.close();
  }

  // ------------------------------------------------------------------ live
  private async watch(apply: (change: Change) => void): Promise<void> {
    const { signal } = this.watching;
    let token = "";
    for (let wait = 500; !signal.aborted; wait = Math.min(2 * wait, 15_000)) {
      try {
        for await (const change of this.api.watch(token, signal)) {
          token = change.resumeToken || token;
          wait = 500;
          apply(change);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof CallError && error.code === "out_of_range") { token = ""; say("Some changes were missed: Show loads again."); }
        if (error instanceof CallError && ["permission_denied", "unauthenticated", "invalid_argument"].includes(error.code)) return;
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  private apply(change: Change): void {
    const edge = change.edge;
    if (!edge) return;
    switch (change.kind) {
      case "KIND_CREATED": case "KIND_UPDATED":
        if (model.putEdge(this.view, edge)) this.nearby(edge);
        for (const id of [edge.sourceId, edge.targetId]) if (!this.view.getNodeAttribute(id, "known")) void this.learn(id);
        break;
      case "KIND_DELETED": model.dropEdge(this.view, edge); break;
      case "KIND_NODE_HIDDEN": case "KIND_NODE_SHOWN":
        if (this.view.hasNode(edge.sourceId)) {
          this.view.setNodeAttribute(edge.sourceId, "hiddenNote", change.kind === "KIND_NODE_HIDDEN");
        } else if (change.kind === "KIND_NODE_SHOWN") void this.learn(edge.sourceId);
        break;
      default: return;
    }
    this.refresh();
  }

  /** Moves an end that has no other edge next to the other end: a new note appears where it belongs. */
  private nearby(edge: Edge): void {
    for (const [id, other] of [[edge.sourceId, edge.targetId], [edge.targetId, edge.sourceId]] as const) {
      if (this.view.degree(id) !== 1 || this.view.degree(other) < 2) continue;
      const { x, y } = this.view.getNodeAttributes(other);
      this.view.mergeNodeAttributes(id, { x: x + 2, y: y + 2 });
    }
  }

  private async learn(id: string): Promise<void> {
    try { model.putNote(this.view, await this.api.note(id)); this.refresh(); } catch { /* it is gone again */ }
  }

  // ------------------------------------------------------------------ drawing
  private draw(): void {
    const style = getComputedStyle(document.documentElement);
    // Read once: the reducers run for every note and edge.
    const colours = Object.fromEntries(["--ink", "--soft", "--line", "--edge", "--page", "--accent"].map((name) => [name, style.getPropertyValue(name).trim()]));
    const colour = (name: string) => colours[name]!;
    const labels = new look.Labels(colour("--ink"), colour("--page"));
    const programs = limited(() => this.motion?.limit() ?? Infinity);
    this.select();
    this.sigma = new Sigma(this.view, $("stage"), {
      labelColor: { color: colour("--ink") }, labelFont: "system-ui, sans-serif", labelSize: 13, labelRenderedSizeThreshold: 4,
      labelDensity: 1.5, labelGridCellSize: 90, zIndex: true, minCameraRatio: 0.005, maxCameraRatio: 4, minEdgeThickness: 1.7,
      nodeProgramClasses: { circle: programs.notes },
      edgeProgramClasses: { line: programs.edges, lit: programs.lit },
      defaultDrawNodeLabel: (context, data, font) => labels.add(context, data, font),
      defaultDrawNodeHover: (context, data, font) => labels.draw(context, data, font, []),
      nodeReducer: (id, data) => this.drawnNode(id, data, colour),
      edgeReducer: (key, data) => this.drawnEdge(key, data, colour),
    });
    this.sigma.on("afterRender", () => labels.paint());
    this.motion = new Motion(this.sigma, $("stage"), () => Math.max(this.view.order, this.view.size));
    if (this.layout) this.motion.arrange(true);
    this.legend();
    this.sigma.on("clickNode", ({ node }) => void this.choose(node));
    this.sigma.on("clickStage", () => this.close());
    this.sigma.on("enterNode", ({ node }) => this.hover(node));
    this.sigma.on("leaveNode", () => this.hover(null));
  }

  private hover(id: string | null): void {
    this.hovered = id;
    this.mark();
    this.sigma?.refresh({ skipIndexation: true });
  }

  /** The style sheet leaves out the layers of highlighted notes while there are none. */
  private mark(): void { $("stage").classList.toggle("lit", (this.hovered ?? this.chosen) !== null); }

  /** The rank of a note's group, the largest first; null for a note without one. */
  private group(id: string): number | null {
    const { tags, community } = this.view.getNodeAttributes(id);
    if (this.byTag) return tags[0] === undefined ? null : this.tags.indexOf(tags[0]);
    return this.view.degree(id) ? community : null;
  }

  private drawnNode(id: string, data: model.NodeAttributes, colour: (name: string) => string) {
    if (!this.shown.has(id)) return { ...data, hidden: true };
    const group = this.group(id);
    const size = data.size * look.scale(this.view.order);
    const drawn = { ...data, size, color: group === null ? colour("--soft") : look.groupColour(group), highlighted: false, zIndex: 0 };
    const focus = this.hovered ?? this.chosen;
    if (focus && id !== focus && !this.view.areNeighbors(id, focus)) return { ...drawn, color: colour("--line"), label: "" };
    if (id === focus) return { ...drawn, highlighted: true, zIndex: 2, size: size + 2 };
    return { ...drawn, zIndex: focus ? 1 : 0, forceLabel: !!focus };
  }

  private drawnEdge(key: string, data: model.EdgeAttributes, colour: (name: string) => string) {
    const focus = this.hovered ?? this.chosen;
    const lit = focus !== null && this.view.hasExtremity(key, focus);
    const hidden = !model.showsEdge(data.edge, this.filters) || (focus !== null && !lit && this.view.size > MANY_EDGES);
    const size = data.size * look.scale(this.view.order);
    // Only the chosen note's edges are drawn by another program: a change of it costs as much as a new graph.
    const type = this.chosen !== null && this.view.hasExtremity(key, this.chosen) ? "lit" : "line";
    if (lit) return { ...data, hidden, size: size + 0.5, type, color: colour("--accent") };
    if (focus !== null) return { ...data, hidden, size, type, color: look.faint(colour("--line"), 0.5) };
    const group = this.group(data.edge.sourceId);
    const own = group !== null && group === this.group(data.edge.targetId) ? look.groupColour(group) : colour("--edge");
    return { ...data, hidden, size, type, color: look.faint(own, look.edgeShare(this.view.size)) };
  }

  /** Names the largest groups: a tag, or the note of a community that has the most edges. */
  private legend(): void {
    const groups = new Map<number, { name: string; notes: number; degree: number }>();
    for (const id of this.shown) {
      const group = this.group(id);
      if (group === null) continue;
      const found = groups.get(group) ?? { name: "", notes: 0, degree: -1 };
      const degree = this.view.degree(id);
      if (this.byTag) found.name = `#${this.tags[group]}`;
      else if (degree > found.degree) { found.degree = degree; found.name = this.view.getNodeAttribute(id, "label"); }
      found.notes++;
      groups.set(group, found);
    }
    const largest = [...groups].filter(([, { notes }]) => notes > 1).sort((a, b) => b[1].notes - a[1].notes || a[0] - b[0]);
    $("legend").replaceChildren(...largest.slice(0, NAMED_GROUPS).map(([group, { name, notes }]) => {
      const row = element("li"), dot = element("span", "", "dot");
      dot.style.background = look.groupColour(group);
      row.append(dot, element("span", name, "name"), element("span", notes.toLocaleString(), "notes"));
      return row;
    }));
  }

  private tags: string[] = [];
  private byTag = false;

  /** The notes that the filters show; what is drawn, and what the tests read. */
  private select(): void {
    this.local = this.chosen && this.filters.depth ? model.around(this.view, this.chosen, this.filters.depth) : null;
    const now = Date.now();
    this.shown = new Set(this.view.filterNodes((id) => model.showsNode(this.view, id, this.filters, this.local, now)));
  }

  private refresh(): void {
    this.select();
    this.mark();
    this.sigma?.refresh();
    this.legend();
    if (this.chosen) this.list(this.chosen);
  }

  arrange(): void {
    this.layout?.kill();
    if (this.view.order === 0) return;
    const settings = { ...inferSettings(this.view), barnesHutOptimize: this.view.order > 500, slowDown: 1 + Math.log(this.view.order) };
    this.layout = new FA2Layout(this.view, { settings, getEdgeWeight: (_, attributes) => attributes["edge"].weight || 0.01 });
    const layout = this.layout;
    layout.start();
    this.motion?.arrange(true);
    document.body.dataset["layout"] = "running";
    setTimeout(() => {
      if (this.layout !== layout) return;
      layout.kill();
      this.layout = null;
      this.motion?.arrange(false);
      // The next visit draws the notes where they are from now on.
      void model.storePositions(this.api.userId, this.view).then(() => {
        if (!this.layout) document.body.dataset["layout"] = "done";
      });
    }, 1000 * layoutSeconds(this.view.order));
  }

  /** What is on the screen: for tests, and for anybody who looks in the console. */
  drawn(): { nodes: string[]; edges: string[]; positions: Record<string, [number, number]> } {
    const edges = this.view.filterEdges((_, attributes, source, target) =>
      this.shown.has(source) && this.shown.has(target) && model.showsEdge(attributes.edge, this.filters));
    const positions: Record<string, [number, number]> = {};
    for (const id of this.shown) { const { x, y } = this.view.getNodeAttributes(id); positions[id] = [x, y]; }
    return { nodes: [...this.shown], edges, positions };
  }

  // ------------------------------------------------------------------ choosing
  async choose(id: string, fly = false): Promise<void> {
    if (!this.view.hasNode(id)) return;
    this.chosen = id;
    $("note").hidden = false;
    this.sigma?.resize();
    this.refresh();
    if (fly && this.sigma) {
      const at = this.sigma.getNodeDisplayData(id);
      if (at) void this.sigma.getCamera().animate({ x: at.x, y: at.y, ratio: 0.15 }, { duration: calm() ? 0 : 500 });
    }
    const attributes = this.view.getNodeAttributes(id);
    $("title").textContent = attributes.label;
    $("facts").textContent = [attributes.tags.map((tag) => `#${tag}`).join(" "), attributes.created ? new Date(attributes.created).toLocaleDateString() : ""].filter(Boolean).join(" · ");
    $("text").textContent = "…";
    this.list(id);
    say(`${attributes.label}: ${count(this.view.degree(id), "link")}`);
    try {
      const note: Note = await this.api.note(id);
      if (this.chosen === id) $("text").textContent = note.content ?? "";
    } catch (error) { if (this.chosen === id) $("text").textContent = reason(error); }
  }

  close(): void {
    if (this.chosen === null && $("note").hidden) return;
    this.chosen = null;
    $("note").hidden = true;
    this.sigma?.resize();
    this.refresh();
  }

  private list(id: string): void {
    if (!this.view.hasNode(id)) { this.close(); return; }
    const rows: { edge: Edge; other: string }[] = [];
    this.view.forEachEdge(id, (_, { edge }, source, target) => rows.push({ edge, other: source === id ? target : source }));
    // A person's own links first, then by weight.
    rows.sort((a, b) => Number(!!a.edge.metadata?.autoGenerated) - Number(!!b.edge.metadata?.autoGenerated) || (b.edge.weight ?? 0) - (a.edge.weight ?? 0));
    $("degree").textContent = count(rows.length, "link");
    $("neighbours").replaceChildren(...rows.slice(0, 200).map(({ edge, other }) => this.row(edge, other)));
  }

  private row(edge: Edge, other: string): HTMLElement {
    const row = element("li"), label = this.view.getNodeAttribute(other, "label");
    const open = element("button", label, "open");
    open.type = "button";
    open.onclick = () => void this.choose(other, true);
    const words = (edge.metadata?.sharedKeywords ?? []).slice(0, 6).map((word) => word.keyword).join(", ");
    const kind = edge.metadata?.autoGenerated ? (edge.metadata.confirmed ? "automatic, confirmed" : "automatic") : edge.type.replaceAll("_", " ");
    row.append(open, element("div", `${(edge.weight ?? 0).toFixed(2)} · ${kind}${words ? ` · because of ${words}` : ""}`, "why"));
    if (edge.metadata?.autoGenerated && !edge.metadata.confirmed) {
      row.append(this.action("Confirm", `Confirm the link to ${label}`, async () => { model.putEdge(this.view, await this.api.confirm(edge)); }), " ",
        this.action("Reject", `Reject the link to ${label}`, async () => { await this.api.reject(edge); model.dropEdge(this.view, edge); }));
    }
    return row;
  }

  private action(text: string, label: string, work: () => Promise<void>): HTMLButtonElement {
    const button = element("button", text);
    button.type = "button";
    button.setAttribute("aria-label", label);
    button.onclick = async () => {
      button.disabled = true;
      try { await work(); say(`${label}: done`); this.refresh(); } catch (error) { say(reason(error)); button.disabled = false; }
    };
    return button;
  }

  async link(title: string): Promise<void> {
    const from = this.chosen;
    const target = this.view.findNode((_, attributes) => attributes.label === title) ?? (this.view.hasNode(title) ? title : undefined);
    if (!from || !target) { say(`No note is called ${title}`); return; }
    try { model.putEdge(this.view, await this.api.link(from, target)); this.refresh(); say(`Linked to ${title}`); } catch (error) { say(reason(error)); }
  }

  // ------------------------------------------------------------------ finding, filters, keys
  async find(query: string): Promise<Hit[]> {
    const text = query.trim().toLowerCase();
    if (!text) return [];
    const own: Hit[] = [];
    for (const id of this.shown) {
      const label = this.view.getNodeAttribute(id, "label");
      if (label.toLowerCase().startsWith(text)) own.push({ nodeId: id, title: label });
      if (own.length === 5) break;
    }
    const found = await this.api.search(query).catch(() => []);
    const seen = new Set(own.map((hit) => hit.nodeId));
    return [...own, ...found.filter((hit) => !seen.has(hit.nodeId) && this.view.hasNode(hit.nodeId))].slice(0, 12);
  }

  filter(change: Partial<model.Filters>): void {
    this.filters = { ...this.filters, ...change };
    this.refresh();
    say(`${count(this.shown.size, "note")} shown`);
  }

  /** Colours the notes by their first tag, or by their community. */
  colour(byTag: boolean): void {
    this.byTag = byTag;
    this.sigma?.refresh({ skipIndexation: true });
    this.legend();
  }

  redraw(): void { if (this.sigma) { this.sigma.kill(); this.draw(); } }

  private choices(): void {
    const types = new Set<string>(), tags = new Map<string, number>();
    this.view.forEachEdge((_, { edge }) => types.add(edge.type));
    this.view.forEachNode((_, { tags: own }) => own.forEach((tag) => tags.set(tag, (tags.get(tag) ?? 0) + 1)));
    this.tags = [...tags.entries()].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([tag]) => tag);
    options("type", [...types].sort());
    options("tag", this.tags.slice(0, 500));
  }

  titles(prefix: string): string[] {
    const text = prefix.toLowerCase(), found: string[] = [];
    this.view.forEachNode((_, { label }) => { if (found.length < 20 && label.toLowerCase().includes(text)) found.push(label); });
    return found;
  }

  /** Chooses the nearest shown note in a direction of the screen, or the largest when none is chosen. */
  step(dx: number, dy: number): void {
    const sigma = this.sigma;
    if (!sigma) return;
    if (!this.chosen || !this.shown.has(this.chosen)) {
      let largest: string | null = null;
      for (const id of this.shown) if (largest === null || this.view.degree(id) > this.view.degree(largest)) largest = id;
      if (largest) void this.choose(largest, true);
      return;
    }
    const place = (id: string) => sigma.graphToViewport(this.view.getNodeAttributes(id));
    const from = place(this.chosen);
    let best: string | null = null, least = Infinity;
    for (const id of this.shown) {
      if (id === this.chosen) continue;
      const to = place(id), x = to.x - from.x, y = to.y - from.y, along = x * dx + y * dy;
      if (along <= 0) continue;
      const distance = Math.hypot(x, y) * (2 - along / Math.hypot(x, y));
      if (distance < least) { least = distance; best = id; }
    }
    if (best) void this.choose(best);
  }

  zoom(factor: number): void {
    const camera = this.sigma?.getCamera();
    if (camera) void camera.animate({ ratio: camera.ratio * factor }, { duration: calm() ? 0 : 150 });
  }
}

const say = (text: string) => { $("status").textContent = text; };
const count = (n: number, thing: string) => `${n.toLocaleString()} ${thing}${n === 1 ? "" : "s"}`;
const reason = (error: unknown) => {
  if (error instanceof CallError) return error.message;
  if (error instanceof TypeError && !navigator.onLine) return "The console does not answer.";
  console.error(error);
  return error instanceof TypeError ? "The console does not answer." : "The page has a defect; the browser's log has the details.";
};
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
function options(id: string, values: string[]): void {
  const select = $<HTMLSelectElement>(id), all = select.options[0]!;
  select.replaceChildren(all, ...values.map((value) => new Option(value, value)));
}

const page = new Page();
Object.assign(window, { brain2: page });

// ---------------------------------------------------------------- who
const user = $<HTMLInputElement>("user");
async function show(): Promise<void> {
  const userId = user.value.trim();
  if (!userId) return;
  history.replaceState(null, "", `#${encodeURIComponent(userId)}`);
  try { await page.show(userId, $<HTMLInputElement>("token").value); } catch (error) { say(reason(error)); }
}
$("who").addEventListener("submit", (event) => { event.preventDefault(); void show(); });
user.value = decodeURIComponent(location.hash.slice(1));
if (user.value) void show();

// ---------------------------------------------------------------- find
const query = $<HTMLInputElement>("query"), hits = $("hits");
let asked = 0, at = -1;
query.addEventListener("input", () => {
  const mine = ++asked;
  setTimeout(async () => {
    if (mine !== asked) return;
    const found = await page.find(query.value);
    if (mine !== asked) return;
    at = -1;
    hits.replaceChildren(...found.map((hit, index) => {
      const row = element("li", hit.title || hit.nodeId);
      row.id = `hit-${index}`;
      row.setAttribute("role", "option");
      row.onclick = () => open(hit.nodeId);
      row.dataset["id"] = hit.nodeId;
      return row;
    }));
    list(found.length > 0);
    if (query.value) say(found.length ? `${count(found.length, "note")} found` : "Nothing found");
  }, 120);
});
function list(visible: boolean): void { hits.hidden = !visible; query.setAttribute("aria-expanded", String(visible)); }
function open(id: string): void { list(false); void page.choose(id, true); }
query.addEventListener("keydown", (event) => {
  const rows = [...hits.children] as HTMLElement[];
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (!rows.length) return;
    at = (at + (event.key === "ArrowDown" ? 1 : -1) + rows.length) % rows.length;
    rows.forEach((row, index) => row.setAttribute("aria-selected", String(index === at)));
    query.setAttribute("aria-activedescendant", `hit-${at}`);
    rows[at]!.scrollIntoView({ block: "nearest" });
  } else if (event.key === "Enter") {
    const row = rows[Math.max(at, 0)];
    if (row) open(row.dataset["id"]!);
  } else if (event.key === "Escape") list(false);
});
document.addEventListener("click", (event) => { if (!$("find").contains(event.target as Node)) list(false); });

// ---------------------------------------------------------------- filters and the note
const number = (id: string) => Number($<HTMLInputElement>(id).value) || 0;
$("depth").addEventListener("input", () => {
  $("depth-shown").textContent = number("depth") ? count(number("depth"), "step") : "everything";
  page.filter({ depth: number("depth") });
});
$("type").addEventListener("change", () => page.filter({ type: $<HTMLSelectElement>("type").value }));
$("weight").addEventListener("input", () => { $("weight-shown").textContent = String(number("weight")); page.filter({ minWeight: number("weight") }); });
$("tag").addEventListener("change", () => page.filter({ tag: $<HTMLSelectElement>("tag").value }));
$("age").addEventListener("change", () => page.filter({ maxAgeDays: number("age") }));
$("hubs").addEventListener("change", () => page.filter({ maxDegree: number("hubs") }));
$("colour").addEventListener("change", () => page.colour($<HTMLSelectElement>("colour").value === "tag"));
$("arrange").addEventListener("click", () => page.arrange());
$("close").addEventListener("click", () => { page.close(); $("stage").focus(); });
dark.addEventListener("change", () => page.redraw());
const target = $<HTMLInputElement>("target");
target.addEventListener("input", () => $("titles").replaceChildren(...page.titles(target.value).map((title) => new Option(title, title))));
$("link").addEventListener("submit", (event) => { event.preventDefault(); void page.link(target.value).then(() => { target.value = ""; }); });

// ---------------------------------------------------------------- keys on the graph
const ARROWS: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
$("stage").addEventListener("keydown", (event) => {
  const arrow = ARROWS[event.key];
  if (arrow) { event.preventDefault(); page.step(...arrow); }
  else if (event.key === "+" || event.key === "=") page.zoom(1 / 1.4);
  else if (event.key === "-") page.zoom(1.4);
  else if (event.key === "Enter") $("title").scrollIntoView();
  else if (event.key === "Escape") page.close();
});
