// Drives the page in a real browser: `node drive.mjs URL ACTION [ARGUMENT]` prints one JSON object. Used by tests and benchmarks.
// BRAIN2_CHROMIUM names the browser's program; without it /usr/bin/chromium is used.
import { chromium } from "playwright-core";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [url, action, argument] = process.argv.slice(2);
const profile = await mkdtemp(join(tmpdir(), "brain2-view-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.BRAIN2_CHROMIUM ?? "/usr/bin/chromium",
  viewport: { width: 1280, height: 800 },
  colorScheme: action === "screenshot-dark" ? "dark" : "light",
  args: ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--enable-precise-memory-info"],
});
const page = context.pages()[0] ?? await context.newPage();
const errors = [];
page.on("pageerror", (error) => errors.push(String(error)));
page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });

const ready = () => page.waitForFunction(() => document.body.dataset.ready, undefined, { timeout: 120_000 });
const arranged = () => page.waitForFunction(() => document.body.dataset.layout !== "running", undefined, { timeout: 60_000 });
const drawn = () => page.evaluate(() => window.brain2.drawn());
const found = { errors };
try {
  await page.goto(url);
  await ready();
  if (action === "drawn") {
    Object.assign(found, await drawn());
  } else if (action === "visit") {
    // What a person does, by keyboard where it can be done so.
    await arranged();
    const before = await drawn();
    await page.reload();
    await ready();
    // By id: the notes come in the order of two lists that are read at the same time.
    const places = ({ positions }) => JSON.stringify(Object.entries(positions).sort());
    found.stable = places(await drawn()) === places(before);
    await page.fill("#query", argument);
    await page.waitForSelector("#hits li");
    await page.press("#query", "ArrowDown");
    await page.press("#query", "Enter");
    await page.waitForFunction(() => document.getElementById("text").textContent.length > 1);
    found.title = await page.textContent("#title");
    found.text = await page.textContent("#text");
    found.neighbours = await page.$$eval("#neighbours .open", (rows) => rows.map((row) => row.textContent));
    await page.locator("#depth").fill("1");
    found.local = (await drawn()).nodes;
    await page.locator("#depth").fill("0");
    await page.focus("#stage");
    await page.press("#stage", "ArrowRight");
    found.stepped = await page.textContent("#title");
    await page.press("#stage", "Escape");
    found.closed = await page.isHidden("#note");
  } else if (action === "act") {
    // Rejects, confirms and makes links of the note with this title, then shows what is drawn.
    const { reject, confirm, link, from } = JSON.parse(argument);
    await page.evaluate((id) => window.brain2.choose(id), from);
    await page.click(`[aria-label="Reject the link to ${reject}"]`);
    await page.waitForSelector(`[aria-label="Reject the link to ${reject}"]`, { state: "detached" });
    await page.click(`[aria-label="Confirm the link to ${confirm}"]`);
    await page.waitForSelector(`[aria-label="Confirm the link to ${confirm}"]`, { state: "detached" });
    await page.fill("#target", link);
    await page.press("#target", "Enter");
    await page.waitForFunction((title) => document.getElementById("status").textContent === `Linked to ${title}`, link);
    Object.assign(found, await drawn());
  } else if (action === "live") {
    // Waits until an edge that somebody else makes is drawn.
    console.error("ready");
    await page.waitForFunction((key) => window.brain2.drawn().edges.includes(key), argument, { timeout: 30_000 });
    found.seen = true;
  } else if (action === "move") {
    // As where frames come late: a movement draws one note and one edge. At rest the picture is whole again.
    await arranged();
    const picture = async () => (await page.locator("#stage").screenshot()).toString("base64");
    const whole = await picture();
    await page.evaluate(() => {
      window.brain2.motion.most = 0.25;
      const move = () => { window.brain2.sigma.getCamera().setState({ angle: 1e-6 * Math.random() }); window.moving = requestAnimationFrame(move); };
      move();
    });
    await page.waitForSelector("#stage.reduced");
    found.reduced = await picture() !== whole;
    await page.evaluate(() => { cancelAnimationFrame(window.moving); window.brain2.sigma.getCamera().setState({ angle: 0 }); });
    await page.waitForSelector("#stage:not(.reduced)");
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    found.whole = await picture() === whole;
  } else if (action.startsWith("screenshot")) {
    await arranged();
    if (argument.includes("=")) { const [file, id] = argument.split("="); await page.evaluate((note) => window.brain2.choose(note), id); await page.waitForTimeout(800); await page.screenshot({ path: file }); }
    else { await page.waitForTimeout(800); await page.screenshot({ path: argument }); }
  } else if (action === "measure") {
    // The entry is there only when the first frame has been presented, which software does late.
    const paint = await page.evaluate(() => new Promise((resolve) => {
      const seen = (list) => { const entry = list.getEntriesByName("first-contentful-paint")[0]; if (entry) resolve(entry.startTime); };
      new PerformanceObserver(seen).observe({ type: "paint", buffered: true });
    }));
    found.first_paint_ms = Math.round(paint);
    found.graph_drawn_ms = Number(await page.evaluate(() => document.body.dataset.ready));
    // Frames while the camera moves, with the layout at work and after it; and of a page without any note, where the browser
    // does the same for a frame but draws nothing. Each begins when the frames of the one before have been presented.
    const frames = () => page.evaluate(async () => {
      await new Promise((resolve) => {
        const began = performance.now();
        let last = began, quick = 0;
        const frame = (now) => {
          quick = now - last < 100 ? quick + 1 : 0;
          last = now;
          if (quick > 5 || now - began > 10_000) resolve(); else requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
      });
      return await new Promise((resolve) => {
        const camera = window.brain2.sigma.getCamera(), began = performance.now();
        let count = 0, longest = 0, last = began;
        const frame = (now) => {
          longest = Math.max(longest, now - last); last = now; count++;
          camera.setState({ x: 0.5 + 0.1 * Math.sin(now / 300), ratio: 0.6 + 0.3 * Math.sin(now / 500) });
          if (now - began < 3000) requestAnimationFrame(frame);
          else resolve({ fps: Math.round(10_000 * count / (now - began)) / 10, longest_frame_ms: Math.round(longest) });
        };
        requestAnimationFrame(frame);
      });
    });
    found.moving_while_arranging = await frames();
    await arranged();
    found.moving = await frames();
    // What the page itself does for a frame; the rest of a frame's time is the graphics card's, or the software's in its place.
    found.script_ms_a_frame = await page.evaluate(() => {
      const times = Array.from({ length: 20 }, () => {
        const began = performance.now();
        window.brain2.sigma.render();
        return performance.now() - began;
      });
      return Math.round(10 * times.sort((a, b) => a - b)[10]) / 10;
    });
    const heap = await context.newCDPSession(page);
    await heap.send("HeapProfiler.collectGarbage");
    const { usedSize } = await heap.send("Runtime.getHeapUsage");
    found.heap_mb = Math.round(usedSize / 1e6);
    await page.evaluate(() => window.brain2.sigma.getGraph().clear());
    found.empty = await frames();
  } else throw new Error(`there is no action ${action}`);
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(found));
