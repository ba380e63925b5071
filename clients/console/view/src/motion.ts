// What is drawn while the picture moves: fewer notes and edges when frames come late, everything when it rests.

import type Sigma from "sigma";
import { EdgeRectangleProgram, NodeCircleProgram, type EdgeProgramType, type NodeProgramType } from "sigma/rendering";
import type { EdgeAttributes, NodeAttributes } from "./model";

// A frame is late when it takes longer than this many milliseconds; then the next ones draw less in proportion.
const LATE_MS = 50;
// So many notes and edges are drawn however late the frames come.
const LEAST = 500;
// The picture rests when the camera has not moved for so many milliseconds, and so many frames, which may be slow.
const REST_MS = 200;
const REST_FRAMES = 4;

export class Motion {
  /** So many notes and so many edges are drawn at most while the picture moves. */
  most = Infinity;
  private moving = false;
  private arranging = false;
  private rendered = 0;
  private moved = 0;
  private quiet = 0;

  /** all: the number of notes or of edges, whichever is larger. */
  constructor(private readonly sigma: Sigma<NodeAttributes, EdgeAttributes>, private readonly stage: HTMLElement, private readonly all: () => number) {
    sigma.getCamera().on("updated", () => { this.moved = performance.now(); this.quiet = 0; this.begin(); });
    sigma.on("afterRender", () => this.measure());
  }

  /** How many notes and how many edges the next frame draws at most. */
  limit(): number { return this.moving ? this.most : Infinity; }

  /** Begins or ends a movement of the notes by a layout. */
  arrange(arranging: boolean): void {
    this.arranging = arranging;
    if (arranging) this.begin();
  }

  private begin(): void {
    if (this.moving) return;
    this.moving = true;
    this.rendered = 0;
    this.quiet = 0;
    // An earlier movement may have been slow for another reason: each one tries more than the last one ended with.
    this.most *= 4;
    this.mark();
    const wait = () => {
      if (!this.moving) return;
      if (++this.quiet > REST_FRAMES && performance.now() - this.moved > REST_MS && !this.arranging) this.rest();
      else requestAnimationFrame(wait);
    };
    requestAnimationFrame(wait);
  }

  private rest(): void {
    this.moving = false;
    this.mark();
    this.sigma.scheduleRender();
  }

  private measure(): void {
    if (!this.moving) return;
    const now = performance.now(), took = now - this.rendered;
    if (this.rendered && took > LATE_MS) {
      this.most = Math.min(this.most, Math.max(LEAST, Math.min(this.most, this.all()) * LATE_MS / took));
      this.mark();
    }
    this.rendered = now;
  }

  /** Labels are a layer of their own; the style sheet hides it while not everything is drawn. */
  private mark(): void { this.stage.classList.toggle("reduced", this.limit() < this.all()); }
}

/** Programs for notes and edges that draw the first ones of the graph, as many as `limit` answers; `lit` draws all edges. */
export function limited(limit: () => number) {
  class Notes extends NodeCircleProgram {
    override drawWebGL(...[method, program]: Parameters<NodeCircleProgram["drawWebGL"]>): void {
      const all = this.capacity;
      this.capacity = Math.min(all, limit());
      super.drawWebGL(method, program);
      this.capacity = all;
    }
  }
  class Edges extends EdgeRectangleProgram {
    override drawWebGL(...[method, program]: Parameters<EdgeRectangleProgram["drawWebGL"]>): void {
      const all = this.capacity;
      this.capacity = Math.min(all, limit());
      super.drawWebGL(method, program);
      this.capacity = all;
    }
  }
  // They draw any attributes; sigma wants programs of the graph's own.
  return {
    notes: Notes as unknown as NodeProgramType<NodeAttributes, EdgeAttributes>,
    edges: Edges as unknown as EdgeProgramType<NodeAttributes, EdgeAttributes>,
    lit: EdgeRectangleProgram as unknown as EdgeProgramType<NodeAttributes, EdgeAttributes>,
  };
}
