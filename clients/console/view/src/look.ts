// How the graph looks: colours of groups and edges, labels that do not cover each other.

import type { NodeDisplayData } from "sigma/types";
import type { Settings } from "sigma/settings";

// The largest groups have these colours, which are easy to tell apart on light and dark pages.
const PALETTE = ["#4269d0", "#e08a1e", "#e0574a", "#2fa39a", "#4f9d4f", "#c2679f", "#8a63c9", "#a0714f", "#3c9bd6", "#9a9a2e"];

/** The colour of a group by its rank, the largest first; further groups have colours of their own, less bright. */
export function groupColour(rank: number): string {
  return PALETTE[rank] ?? hsl((rank * 137.5) % 360, 0.4, 0.55);
}

function hsl(hue: number, saturation: number, lightness: number): string {
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12;
    const value = lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1));
    return Math.round(255 * value).toString(16).padStart(2, "0");
  };
  return `#${channel(0)}${channel(8)}${channel(4)}`;
}

/** A colour (#rrggbb) that lets this share of itself be seen, as sigma's programs blend it: multiplied beforehand. */
export function faint(colour: string, share: number): string {
  const channels = [1, 3, 5].map((at) => Math.round(parseInt(colour.slice(at, at + 2), 16) * share));
  return `rgba(${channels.join(",")},${share})`;
}

/** The share of an edge's colour: many edges are one cloud when each is faint. */
export function edgeShare(edges: number): number {
  return Math.max(0.08, Math.min(0.7, 0.7 * Math.sqrt(600 / Math.max(1, edges))));
}

/** The factor of all sizes: many notes fit the page when each is small. */
export function scale(notes: number): number {
  return Math.max(0.28, Math.min(1, Math.sqrt(800 / Math.max(1, notes))));
}

export interface Box { left: number; top: number; right: number; bottom: number }

/** Whether the box covers none of the others. */
export function isFree(box: Box, others: Box[]): boolean {
  return others.every((other) =>
    box.right < other.left || box.left > other.right || box.bottom < other.top || box.top > other.bottom);
}

type Label = Partial<NodeDisplayData> & { x: number; y: number; size: number };
type Font = Pick<Settings, "labelWeight" | "labelSize" | "labelFont">;

/** The labels of one frame: those of larger notes first; one that would cover an earlier one is left out. */
export class Labels {
  private waiting: { context: CanvasRenderingContext2D; label: Label; font: Font }[] = [];

  /** ink, halo: the colours of letters and of what surrounds them. */
  constructor(private readonly ink: string, private readonly halo: string) {}

  /** Adds a label to the frame; paint() draws it. */
  add(context: CanvasRenderingContext2D, label: Label, font: Font): void { this.waiting.push({ context, label, font }); }

  /** Draws what was added since the last frame. */
  paint(): void {
    const taken: Box[] = [];
    this.waiting.sort((a, b) => b.label.size - a.label.size);
    for (const { context, label, font } of this.waiting) this.draw(context, label, font, taken);
    this.waiting = [];
  }

  /** Draws a label where it covers none of the boxes, and adds its own to them. */
  draw(context: CanvasRenderingContext2D, { label, x, y, size }: Label, font: Font, taken: Box[]): void {
    if (!label) return;
    const text = label.length > 40 ? `${label.slice(0, 39)}…` : label;
    context.font = `${font.labelWeight} ${font.labelSize}px ${font.labelFont}`;
    const left = x + size + 4, half = 0.7 * font.labelSize;
    const box = { left, right: left + context.measureText(text).width, top: y - half, bottom: y + half };
    if (!isFree(box, taken)) return;
    taken.push(box);
    context.lineJoin = "round";
    context.lineWidth = 4;
    context.strokeStyle = this.halo;
    context.strokeText(text, left, y + font.labelSize / 3);
    context.fillStyle = this.ink;
    context.fillText(text, left, y + font.labelSize / 3);
  }
}
