// SPDX-License-Identifier: Apache-2.0
//
// The page in a headless Chromium: SITE=<what the preset wasm built> CHROMIUM=<program> node --test. Screenshots go to
// SCREENSHOTS where that is a folder.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Browser } from './browser.mjs';
import { shapesSam } from './golden_values.mjs';

const { SITE: site, CHROMIUM: program = 'chromium', SCREENSHOTS: screenshots } = process.env;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
let browser, server, address, folder;

const status = () => browser.evaluate('document.getElementById("status").textContent');
const ready = 'document.body.dataset.state === "ready"';
const failed = 'document.body.dataset.state === "error"';
const busy = () => browser.evaluate('document.body.dataset.state = "busy"');
const keep = (name) => screenshots && browser.screenshot(join(screenshots, `${name}.png`));

before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'efficientvit-page-'));
    server = spawn(process.execPath, [here('../../examples/web/serve.mjs'), site, '0']);
    address = (await new Promise((resolve) => server.stdout.once('data', resolve))).toString().trim();
    browser = await Browser.start(program);
    await browser.send('Emulation.setDeviceMetricsOverride', { width: 390, height: 844, deviceScaleFactor: 1, mobile: false });
});

after(async () => {
    await browser?.close();
    server?.kill();
    await rm(folder, { recursive: true, force: true });
});

test('at the first opening a digit is read', async () => {
    await browser.open(address);
    await browser.until('/This is a 0/.test(document.getElementById("status").textContent)');
    assert.ok(await browser.evaluate('crossOriginIsolated'));
    await keep('digits');
    assert.ok(await browser.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'fits a phone');
    await browser.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: 'dark' }] });
    await keep('digits-dark');
    await browser.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: 'light' }] });
    for (let digit = 1; digit <= 3; ++digit) {
        await busy();
        await browser.evaluate('document.getElementById("example").click()');
        await browser.until(`/This is a ${digit}/.test(document.getElementById("status").textContent)`);
    }
});

test('a broken file shows a message, and the page goes on', async () => {
    const broken = join(folder, 'broken.safetensors');
    await writeFile(broken, Buffer.alloc(1000, 7));
    await busy();
    await browser.choose('#weights', [broken]);
    await browser.until(failed);
    assert.match(await status(), /not safetensors|header/);
    await keep('broken');
    await busy();
    await browser.choose('#picture', [broken]);
    await browser.until(failed);
    assert.match(await status(), /no picture/);
    await busy();
    await browser.choose('#weights', [here('../../examples/digits/digits_b0.safetensors')]);
    await browser.until('/This is a \\d/.test(document.getElementById("status").textContent)');
    await busy();
    await browser.choose('#picture', [here('../../examples/digits/images/7/') + process.env.SEVEN]);
    await browser.until('/This is a 7/.test(document.getElementById("status").textContent)');
});

test('a click gives a mask, by mouse and by keyboard', async () => {
    const weights = join(folder, 'shapes.safetensors'), masked = '/The mask has/.test(document.getElementById("status").textContent)';
    await writeFile(weights, await shapesSam(readFile));
    await browser.choose('#weights', [weights]);
    await browser.until('/is encoded/.test(document.getElementById("status").textContent)');
    const at = await browser.evaluate(`(() => {
        const box = document.getElementById("stage").getBoundingClientRect();
        scrollTo(0, 0);
        return [box.x + box.width / 2, box.y + 50];
    })()`);
    await browser.click(...at);
    await browser.until(masked);
    await keep('sam');
    const colored = await browser.evaluate(`document.getElementById("overlay").getContext("2d")
        .getImageData(0, 0, 512, 512).data.filter((value, i) => i % 4 === 3 && value > 0).length`);
    assert.ok(colored > 1000, `${colored} pixels`);
    await busy();
    await browser.evaluate('document.getElementById("stage").focus(); document.getElementById("status").textContent = ""');
    for (const key of ['ArrowLeft', 'ArrowDown', 'Enter']) await browser.press(key);
    await browser.until(masked);
});

test('once loaded it works without a network', async () => {
    await browser.until('navigator.serviceWorker.controller !== null');
    await browser.open(address);  // what was fetched before there was a service worker is fetched through it
    await browser.until('/This is a 0/.test(document.getElementById("status").textContent)');
    server.kill();
    await browser.open(address);
    await browser.until('/This is a 0/.test(document.getElementById("status").textContent)');
});

test('nothing went wrong unseen', () => {
    const expected = /404|Failed to load resource|ERR_/;  // weights that are not there, and no network
    assert.deepEqual(browser.errors.filter((text) => !expected.test(text)), []);
});
