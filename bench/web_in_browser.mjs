// SPDX-License-Identifier: Apache-2.0
//
// Times in a browser beside native ones, in turn: node bench/web_in_browser.mjs SITE BENCH_BACKBONES [BROWSER [SAM…]], SITE being
// what the preset wasm built, BENCH_BACKBONES the benchmark of that name, SAM weights of EfficientViT-SAM. A classifier b0 at
// 224 pixels on one thread against the native backbone b0, without head, on AVX2; then a SAM's encoder, and from a click to
// its mask. Milliseconds, the least and the median: of single calls by the clock in the browser, where there is no clock of a
// thread, and of the thread's clock natively; the medians want a machine that does nothing else.
import { execFileSync, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Browser } from '../tests/web/browser.mjs';
import { picture } from '../tests/web/golden_values.mjs';

const [site, native, program = 'chromium', ...sams] = process.argv.slice(2);
const server = spawn(process.execPath, [fileURLToPath(new URL('../examples/web/serve.mjs', import.meta.url)), site, '0']);
const address = (await new Promise((done) => server.stdout.once('data', done))).toString().trim();
const browser = await Browser.start(program);

function show(name, times) {
    times.sort((a, b) => a - b);
    console.log(`${name}: ${times[0].toFixed(2)}, ${times[times.length >> 1].toFixed(2)} ms`);
    return times[0];
}

function nativeTime() {
    const args = ['--benchmark_filter=^b0/size:224/batch:1/threads:1/', '--benchmark_min_time=0.05', '--benchmark_format=json'];
    const env = { ...process.env, EFFICIENTVIT_ISA: 'avx2' };
    return JSON.parse(execFileSync(native, args, { env, stdio: ['ignore', 'pipe', 'ignore'] })).benchmarks[0].cpu_time;
}

const prepare = `window.timed = async (f, runs) => {
    const times = [];
    for (let run = 0; run < runs; ++run) {
        const begin = performance.now();
        await f();
        times.push(performance.now() - begin);
    }
    return times;
}`;

try {
    await browser.open(address);
    await browser.until('document.body.dataset.state === "ready"');
    await browser.evaluate(`(async () => {
        ${prepare};
        const { load } = await import('./efficientvit.js');
        const shape = [1, 3, 224, 224], input = new Float32Array(3 * 224 * 224).fill(0.5);
        window.forwards = {};
        for (const wasm of ['efficientvit-relaxed.wasm', 'efficientvit.wasm']) {
            const network = await load('digits_b0.safetensors', { wasm }).catch(() => undefined);  // no relaxed SIMD
            if (network === undefined) continue;
            window.forwards[wasm] = () => network.forward(input, shape);
            await window.timed(window.forwards[wasm], 300);  // until the optimizing compiler has done its work
        }
    })()`);
    const names = await browser.evaluate('Object.keys(window.forwards)');
    const times = Object.fromEntries([...names, 'native'].map((name) => [name, []]));
    for (let round = 0; round < 10; ++round) {
        for (const name of names) times[name].push(...await browser.evaluate(`timed(forwards['${name}'], 40)`));
        times.native.push(nativeTime());
    }
    const least = show('native backbone b0 at 224, AVX2', times.native);
    for (const name of names) {
        console.log(`  ${(show(`classifier b0 at 224, ${name}`, times[name]) / least).toFixed(2)} of native's least`);
    }
    for (const weights of sams) {
        await browser.evaluate(`document.body.insertAdjacentHTML('beforeend', '<input type="file" id="sam">')`);
        await browser.choose('#sam', [resolve(weights)]);
        const { name, encoder, click } = await browser.evaluate(`(async () => {
            const { load } = await import('./efficientvit.js');
            const sam = await load(document.getElementById('sam').files[0]), image = (${picture})(640, 400);
            const encode = () => sam.setImage(image), click = () => sam.predict({ points: [{ x: 320, y: 200 }] });
            await encode();
            await timed(click, 10);
            const out = { name: sam.info.name, encoder: await timed(encode, 3), click: await timed(click, 20) };
            document.getElementById('sam').remove();
            sam.close();
            return out;
        })()`);
        show(`${name}, a picture`, encoder);
        show(`${name}, a click`, click);
    }
} finally {
    await browser.close();
    server.kill();
}
