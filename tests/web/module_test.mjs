// SPDX-License-Identifier: Apache-2.0
//
// The JavaScript module under Node.js: SITE=<what the preset wasm built> STOPS=<stops.c compiled> node --test. Digits
// against what PyTorch computed, both modules; errors with their messages; a module that stops.
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { brotliCompressSync } from 'node:zlib';

import { maskOf, nativeMasks, overlap, picture, shapesSam } from './golden_values.mjs';
import { readPicture, readPng } from './png.mjs';

const site = process.env.SITE;
const digits = new URL('../../examples/digits/', import.meta.url);
const weights = new URL('digits_b0.safetensors', digits);
const shapes = new URL('../../examples/segment_anything/', import.meta.url);
const { EfficientViTError, hasRelaxedSimd, load } = await import(pathToFileURL(join(site, 'efficientvit.js')));

const modules = ['efficientvit.wasm', ...(hasRelaxedSimd() ? ['efficientvit-relaxed.wasm'] : [])];

test('a visitor loads little', async () => {
    for (const wasm of modules) {
        const size = brotliCompressSync(await readFile(join(site, wasm))).length;
        console.log(`${wasm}: ${size} bytes by brotli`);
        assert.ok(size <= 250e3, 'b0 and SAM l0');
    }
});

/** The 8 x 8 gray values of a digit. */
const pixels = async (path) => (await readPng(new URL(`images/${path}`, digits))).bytes;

function input(gray) {
    const out = new Float32Array(3 * 64 * 64);
    for (let i = 0; i < out.length; ++i) {
        const y = (i >> 6) & 63, x = i & 63;
        out[i] = gray[8 * (y >> 3) + (x >> 3)] / 255;
    }
    return out;
}

for (const [wasm, precision, bound] of modules.flatMap((wasm) => [[wasm, 'f32', 1e-5], [wasm, 'int8', 2e-2]])) {
    test(`${wasm} tells digits as PyTorch does, in ${precision}`, async () => {
        const network = await load(weights, { wasm: await readFile(join(site, wasm)), precision });
        assert.equal(network.info.name, 'digits_b0');
        assert.equal(network.info.isa, 'wasm');
        const [, ...lines] = (await readFile(new URL('expected_logits.csv', digits), 'utf8')).trim().split('\n');
        let worst = 0;
        for (const line of lines.filter((_, i) => i % 4 === 0)) {
            const [path, , ...logits] = line.split(',');
            const { logits: { data } } = await network.forward(input(await pixels(path)), [1, 3, 64, 64]);
            const largest = Math.max(...logits.map(Math.abs));
            data.forEach((value, i) => { worst = Math.max(worst, Math.abs(value - Number(logits[i])) / largest); });
        }
        console.log(`${wasm}, ${precision}: ${worst.toExponential(1)} of the largest logit, at most`);
        assert.ok(worst < bound && (precision === 'f32' || worst > 1e-5), `${worst}`);
        const [first] = await network.topK(3);
        assert.ok(first.probability > 0.3 && first.index >= 0 && first.index < 10);
    });
}

test('a small SAM answers a click as the native library does', async () => {
    const [width, height] = [640, 400];
    const bytes = await shapesSam(readFile);
    for (const wasm of modules) {
        const sam = await load(bytes, { wasm: await readFile(join(site, wasm)) });
        assert.equal(sam.info.task, 'sam');
        await assert.rejects(sam.predict({ points: [{ x: 1, y: 1 }] }), /found no picture/);
        await sam.setImage(picture(width, height));
        const masks = await sam.predict({ points: [{ x: 320, y: 200 }] });
        assert.equal(masks.length, 3);
        masks.forEach(({ iou, pixels: set, ...size }, i) => {
            assert.deepEqual(size, { width, height });
            assert.ok(Math.abs(iou - nativeMasks[i][0]) < 1e-4, `${iou}`);
            assert.ok(Math.abs(set.reduce((a, b) => a + b) - nativeMasks[i][1]) < 1e-4 * width * height);
        });
        const [one, ...none] = await sam.predict({ box: [100, 100, 300, 300], multimask: false });
        assert.ok(one.pixels.includes(1) && none.length === 0);
        await assert.rejects(sam.predict({ points: [{ x: 641, y: 1 }] }), /expected x in \[0, 640\]/);
        await assert.rejects(sam.forward(new Float32Array(3), [1, 3, 1, 1]), /SAM answers prompts/);
    }
});

for (const wasm of modules) {
    test(`${wasm} finds drawn shapes as PyTorch does`, async () => {
        const sam = await load(new URL('shapes_sam.safetensors', shapes), { wasm: await readFile(join(site, wasm)) });
        assert.equal(sam.info.name, 'sam_shapes');
        const { torch, drawings } = JSON.parse(await readFile(new URL('held_out/drawings.json', shapes), 'utf8'));
        const overlaps = [];
        for (const { file, objects } of drawings) {
            const drawing = await readPicture(new URL(`held_out/${file}`, shapes));
            await sam.setImage(drawing);
            for (const { point: [x, y], truth } of objects) {
                const [best] = await sam.predict({ points: [{ x, y }] });
                overlaps.push(overlap(best.pixels, maskOf(truth, drawing)));
            }
        }
        const mean = overlaps.reduce((a, b) => a + b) / overlaps.length;
        console.log(`${wasm}: mean IoU of ${overlaps.length} shapes ${mean.toFixed(4)}, PyTorch ${torch.click.toFixed(4)}`);
        assert.ok(Math.abs(mean - torch.click) < 0.002);
    });
}

test('errors come with their message, and the network goes on', async () => {
    const network = await load(weights);
    const gray = await pixels((await readdir(new URL('images/7', digits))).map((name) => `7/${name}`)[0]);
    const before = await network.forward(input(gray), [1, 3, 64, 64]);
    await assert.rejects(network.forward(new Float32Array(64), [1, 1, 8, 8]), { name: 'EfficientViTError', message: /expected 3/ });
    await assert.rejects(network.forward(new Float32Array(7), [1, 3, 8, 8]), /7 numbers/);
    await assert.rejects(network.setImage({ width: 1, height: 1, data: new Uint8ClampedArray(4) }), /no SAM/);
    await assert.rejects(network.segment({ width: 1, height: 1, data: new Uint8ClampedArray(4) }), /no segmenter/);
    await assert.rejects(network.classify({ width: 2, height: 2, data: new Uint8ClampedArray(4) }), /ImageData/);
    assert.deepEqual(await network.forward(input(gray), [1, 3, 64, 64]), before);
    network.close();
    await assert.rejects(network.topK(1), /closed/);
});

test('broken weights', async () => {
    const whole = await readFile(weights);
    await assert.rejects(load(whole.subarray(0, 100000)), /cut short|beyond|inside|bytes/);
    await assert.rejects(load(new Uint8Array(3)), EfficientViTError);
    await assert.rejects(load(new TextEncoder().encode(`<!DOCTYPE html>${' '.repeat(99)}`)), /a web page/);
    await assert.rejects(load(weights, { network: 'sam_l0' }), EfficientViTError);
    await assert.rejects(load(weights, { network: 'cls_b9' }), /cls_b9/);
    await assert.rejects(load(weights, { precision: 'bf16' }), /'bf16', known are f32, bf16_weights, int8/);
    await assert.rejects(load(new URL('none.safetensors', digits)));
});

test('weights as a Blob, of rounded bfloat16, with progress', async () => {
    const seen = [];
    const blob = new Blob([await readFile(weights)]);
    const network = await load(blob, { precision: 'bf16_weights', onProgress: ({ loaded }) => seen.push(loaded) });
    assert.equal(seen.at(-1), blob.size);
    const gray = await pixels((await readdir(new URL('images/3', digits))).map((name) => `3/${name}`)[0]);
    await network.forward(input(gray), [1, 3, 64, 64]);
    assert.equal((await network.topK(1))[0].index, 3);
});

test('a module that stops is made anew', async () => {
    let loads = 0;
    const wasm = await readFile(process.env.STOPS);
    const network = await load(new Uint8Array(4), { wasm, onProgress: () => ++loads });
    const run = (value) => network.forward(Float32Array.of(value), [1, 1, 1, 1]);
    assert.deepEqual(await run(0), {});
    await assert.rejects(run(2), /^EfficientViTError: an error$/);
    assert.equal(loads, 1);
    await assert.rejects(run(1), /the module stopped/);
    assert.deepEqual(await Promise.all([run(0), run(0)]), [{}, {}]);
    assert.equal(loads, 2);
});
