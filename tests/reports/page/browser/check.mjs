// Opens a page in headless Chromium as a phone and a desk, light and dark, and says what is wrong:
// requests, messages of the console, dialogs, violations that axe-core calls serious or critical,
// and content that is wider than the screen. Pictures of the whole page are written beside it.
//
//   node check.mjs CHROMIUM PAGE.html FOLDER
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import axe from "axe-core";
import puppeteer from "puppeteer-core";

const [executablePath, page, folder] = process.argv.slice(2);
const SERIOUS = new Set(["serious", "critical"]);
const found = [];

const browser = await puppeteer.launch({
  executablePath,
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb"],
});
for (const width of [1280, 390]) {
  for (const scheme of ["light", "dark"]) {
    const tab = await browser.newPage();
    const where = `${width} px, ${scheme}`;
    const say = (what) => found.push(`${where}: ${what}`);
    tab.on("console", (message) => say(`console: ${message.text()}`));
    tab.on("pageerror", (error) => say(`error: ${error.message}`));
    tab.on("dialog", (dialog) => (say(`dialog: ${dialog.message()}`), dialog.dismiss()));
    tab.on("request", (request) => {
      if (!/^(file|data):/.test(request.url())) say(`request: ${request.url()}`);
    });
    await tab.setViewport({ width, height: 900, deviceScaleFactor: 1 });
    await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await tab.goto(pathToFileURL(path.resolve(page)).href, { waitUntil: "load" });
    const wide = await tab.evaluate(() => document.documentElement.scrollWidth);
    if (wide > width) say(`content is ${wide} px wide`);
    await tab.screenshot({ path: path.join(folder, `${width}-${scheme}.png`), fullPage: true });
    // The page's own policy lets no script in, so axe comes in by the debugger.
    const client = await tab.createCDPSession();
    await client.send("Runtime.evaluate", { expression: axe.source });
    const { result } = await client.send("Runtime.evaluate", {
      expression: "axe.run(document).then((r) => JSON.stringify(r.violations))",
      awaitPromise: true,
    });
    for (const violation of JSON.parse(result.value)) {
      if (!SERIOUS.has(violation.impact)) continue;
      const nodes = violation.nodes.slice(0, 3).map((node) => node.html.slice(0, 200));
      say(`axe: ${violation.id}: ${violation.help}: ${nodes.join(" | ")}`);
    }
    await tab.close();
  }
}
await browser.close();
fs.writeFileSync(path.join(folder, "found.json"), JSON.stringify(found, null, 2));
for (const line of found) console.log(line);
process.exit(found.length ? 1 : 0);
