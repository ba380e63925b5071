// Bundles the page into dist/: `npm ci --ignore-scripts && npm run build`. Nothing is loaded from elsewhere at run time.
import { build } from "esbuild";
import { cp, mkdir, rm } from "node:fs/promises";

await rm("dist", { recursive: true, force: true });
await mkdir("dist");
await build({
  entryPoints: ["src/main.ts"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  outfile: "dist/app.js",
  legalComments: "linked",
  logLevel: "warning",
});
for (const file of ["index.html", "style.css"]) await cp(`src/${file}`, `dist/${file}`);
