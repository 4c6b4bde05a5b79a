// SPDX-License-Identifier: Apache-2.0
//
// The page in a headless browser: SITE=<what the preset wasm built> BROWSER=<firefox-esr or chromium> node --test. Screenshots
// go to SCREENSHOTS where that is a folder.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Browser } from './browser.mjs';
import { goldenFile, maskOf, nativeMasks, nativeShape, overlap, picture, shapesSam } from './golden_values.mjs';

const { SITE: site, BROWSER: program = 'chromium', SCREENSHOTS: screenshots } = process.env;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
let browser, server, address, folder;

const status = () => browser.evaluate('document.getElementById("status").textContent');
const says = (pattern) => browser.until(`${pattern}.test(document.getElementById("status").textContent)`);
const failed = 'document.body.dataset.state === "error"';
const shapes = 'document.querySelector("[data-weights^=shapes]")';
const busy = () => browser.evaluate('document.body.dataset.state = "busy"');
const forget = () => browser.evaluate('document.getElementById("status").textContent = ""');

/** A screenshot as on a phone and on a desktop; the page must fit both. Leaves the phone's size. */
async function look(name, of = browser) {
    for (const [size, width, height] of [['desktop', 1280, 900], ['phone', 390, 844]]) {
        await of.resize(width, height);
        assert.ok(await of.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${name} fits a ${size}`);
        if (screenshots) await of.screenshot(join(screenshots, `${basename(program)}-${name}-${size}.png`));
    }
}

/** Where a point of the picture is on the screen, after it was scrolled there. */
const place = (x, y, of = browser) => of.evaluate(`(() => {
    const view = document.getElementById("view");
    view.scrollIntoView({ block: "center" });
    const box = view.getBoundingClientRect();
    return [box.x + ${x} / view.width * box.width, box.y + ${y} / view.height * box.height];
})()`);

/** The mask over the picture, 0 or 1 for each of its pixels; marks of clicks belong to it. */
const maskShown = () => browser.evaluate(`(() => {
    const { width, height } = document.getElementById("view"), overlay = document.getElementById("overlay");
    const { data } = overlay.getContext("2d").getImageData(0, 0, overlay.width, overlay.height), scale = overlay.width / width;
    const at = (i) => Math.floor((i + 0.5) * scale);
    return Array.from({ length: width * height }, (_, i) =>
        data[4 * (at(Math.floor(i / width)) * overlay.width + at(i % width)) + 3] > 65 ? 1 : 0);
})()`);

before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'efficientvit-page-'));
    server = spawn(process.execPath, [here('../../examples/web/serve.mjs'), site, '0']);
    address = (await new Promise((resolve) => server.stdout.once('data', resolve))).toString().trim();
    browser = await Browser.start(program);
});

after(async () => {
    await browser?.close();
    server?.kill();
    await rm(folder, { recursive: true, force: true });
});

test('at the first opening a digit is read', async () => {
    await browser.open(address);
    await says(/This is a 0/);
    assert.ok(await browser.evaluate('crossOriginIsolated'));
    await look('digits');
    for (let digit = 1; digit <= 3; ++digit) {
        await busy();
        await browser.evaluate('document.getElementById("example").click()');
        await says(RegExp(`This is a ${digit}`));
    }
});

test('a broken file shows a message, and the page goes on', async () => {
    const broken = join(folder, 'broken.safetensors');
    await writeFile(broken, Buffer.alloc(1000, 7));
    await busy();
    await browser.choose('#weights', [broken]);
    await browser.until(failed);
    assert.match(await status(), /not safetensors|header/);
    await look('broken');
    await busy();
    await browser.choose('#picture', [broken]);
    await browser.until(failed);
    assert.match(await status(), /no picture/);
    await busy();
    await browser.choose('#weights', [here('../../examples/digits/digits_b0.safetensors')]);
    await says(/This is a \d/);
    await busy();
    await browser.choose('#picture', [here('../../examples/digits/images/7/') + process.env.SEVEN]);
    await says(/This is a 7/);
});

test('drawn shapes are ready: a click gives the native mask, by keyboard and by mouse', async () => {
    await browser.evaluate('document.querySelector("[data-weights]").focus()');
    await browser.press('Tab');
    await browser.press('Enter');
    // A headless Firefox's window is not active, and buttons of such a window obey no key.
    if (!await browser.evaluate('document.hasFocus()')) await browser.evaluate('document.activeElement.click()');
    await says(/sam_shapes: the picture is encoded/);
    assert.equal(await browser.evaluate(`${shapes}.ariaPressed`), 'true');
    for (let i = 0; i < 20 && await browser.evaluate('document.activeElement.id') !== 'stage'; ++i) await browser.press('Tab');
    for (const key of nativeShape.keys) await browser.press(key);
    await says(/The mask has/);
    assert.match(await status(), RegExp(`IoU ${nativeShape.iou.toFixed(2)};`));
    const native = maskOf(nativeShape.counts, { width: 128, height: 128 });
    const other = (await maskShown()).filter((value, i) => value !== native[i]).length;
    assert.ok(other <= 4, `${other} pixels are not those of the native mask`);
    await look('shapes');

    // Another drawing, and a click on each of its shapes.
    await busy();
    await browser.evaluate('document.activeElement.blur(), document.getElementById("example").click()');
    await says(/is encoded/);
    assert.ok(!(await maskShown()).includes(1));
    const { drawings } = JSON.parse(await readFile(here('../../examples/segment_anything/held_out/drawings.json'), 'utf8'));
    for (const { point, truth } of drawings[1].objects) {
        await browser.evaluate('document.getElementById("clear").click()');
        await browser.click(...await place(...point));
        await says(/The mask has/);
        const found = overlap(await maskShown(), maskOf(truth, { width: 128, height: 128 }));
        assert.ok(found > 0.8, `a click on ${point}: IoU ${found}`);
    }
});

test('printed characters are ready, in fonts that training never saw', async () => {
    await busy();
    await browser.evaluate('document.querySelector("[data-weights^=glyphs]").click()');
    for (const character of 'AWÄŃë9μЉ]½') {
        await says(RegExp(`This is ${character === ']' ? '\\]' : character}:`));
        if (character === 'A') await look('characters');
        await busy();
        await browser.evaluate('document.getElementById("example").click()');
    }
    await says(/This is A:/);
});

test('a wrong file shows a message, and the page goes on', async () => {
    const weights = await readFile(here('../../examples/segment_anything/shapes_sam.safetensors'));
    for (const [name, bytes, message] of [
        ['cut.safetensors', weights.subarray(0, 1e6), /cut short|beyond|inside|bytes/],
        ['foreign.safetensors', goldenFile({ 'layer.weight': [2, 3] }), /fit none of the networks|of no known model/],
        ['picture.safetensors', await readFile(here('../../examples/segment_anything/held_out/000.png')), /PNG|not safetensors/],
    ]) {
        await writeFile(join(folder, name), bytes);
        await busy();
        await browser.choose('#weights', [join(folder, name)]);
        await browser.until(failed);
        assert.match(await status(), message);
        assert.equal(await browser.evaluate(`${shapes}.ariaPressed`), 'false');
        assert.ok(!(await maskShown()).includes(1));
        await browser.evaluate(`${shapes}.click()`);
        await says(/is encoded/);
    }
});

test('a click gives a mask, by mouse and by keyboard, which is the native one', async () => {
    const weights = join(folder, 'shapes.safetensors');
    await writeFile(weights, await shapesSam(readFile));
    await forget();
    await browser.choose('#weights', [weights]);
    await says(/is encoded/);
    await browser.evaluate(`(async () => {
        const { width, height, data } = (${picture})(640, 400), canvas = new OffscreenCanvas(width, height);
        canvas.getContext('2d').putImageData(new ImageData(data, width, height), 0, 0);
        const dropped = new DataTransfer();
        dropped.items.add(new File([await canvas.convertToBlob()], 'picture.png', { type: 'image/png' }));
        document.getElementById('status').textContent = '';
        document.getElementById('stage').dispatchEvent(new DragEvent('drop', { bubbles: true, dataTransfer: dropped }));
    })()`);
    await says(/is encoded/);

    // The keyboard's cursor begins in the middle, which is (320, 200).
    await browser.evaluate('document.getElementById("stage").focus()');
    await browser.press('Enter');
    await says(/The mask has/);
    const masked = () => browser.evaluate(`document.getElementById("overlay").getContext("2d")
        .getImageData(0, 0, 640, 400).data.filter((value, i) => i % 4 === 3 && value > 0).length`);
    const [iou, size] = nativeMasks[0];
    assert.match(await status(), RegExp(`has ${(size / 2560).toFixed(1)} % of .* IoU ${iou.toFixed(2)};`));
    assert.ok(Math.abs(await masked() - size) < 300, `${await masked()} pixels, ${size} are native; a click has 130, the cursor 170`);
    await look('sam');

    for (const key of ['ArrowLeft', 'ArrowDown', 'Enter']) await browser.press(key);
    await says(/The mask has/);
    await busy();
    await browser.evaluate('document.activeElement.blur(), document.getElementById("clear").click()');
    assert.equal(await masked(), 0);
    await forget();
    await browser.click(...await place(320, 200));
    await says(/The mask has/);
    assert.ok(await masked() > 1000);

    // Where there is no Shift key: what is not part of the object.
    await browser.evaluate('document.getElementById("exclude").click()');
    await forget();
    await browser.click(...await place(160, 200));
    await says(/The mask has/);
    const red = await browser.evaluate(`document.getElementById("overlay").getContext("2d").getImageData(0, 0, 640, 400).data
        .filter((value, i, all) => i % 4 === 0 && value === 0xe5 && all[i + 1] === 0x3e).length`);
    assert.ok(red > 50, `${red} pixels of its mark`);
});

test('opened once, it works without a network', async () => {
    await browser.until('navigator.serviceWorker.controller !== null');
    server.kill();
    await browser.open(address);
    await says(/This is a 0/);
    await browser.evaluate(`${shapes}.click()`);
    await says(/is encoded/);
    assert.ok(await browser.evaluate('fetch("shapes/9.png").then(({ ok }) => ok)'));
});

test('nothing went wrong unseen', () => {
    const expected = /404|Failed to load resource|ERR_/;  // weights that are not there, and no network
    assert.deepEqual(browser.errors.filter((text) => !expected.test(text)), []);
});

test('in the dark, and in an engine without relaxed SIMD', async (t) => {
    server = spawn(process.execPath, [here('../../examples/web/serve.mjs'), site, '0']);
    address = (await new Promise((resolve) => server.stdout.once('data', resolve))).toString().trim();
    const dark = await Browser.start(program, { dark: true, relaxedSimd: false });
    t.after(() => dark.close());
    await dark.open(address);
    await dark.until('/This is a 0/.test(document.getElementById("status").textContent)');
    await look('dark', dark);
    await dark.evaluate(`${shapes}.click()`);
    await dark.until('/is encoded/.test(document.getElementById("status").textContent)');
    await dark.click(...await place(102, 70, dark));
    await dark.until('/The mask has/.test(document.getElementById("status").textContent)');
    await look('dark-shapes', dark);
    const relaxed = await dark.evaluate('import("./efficientvit.js").then(({ hasRelaxedSimd }) => hasRelaxedSimd())');
    if (/firefox/.test(program)) assert.equal(relaxed, false);
    assert.deepEqual(dark.errors, []);
});
