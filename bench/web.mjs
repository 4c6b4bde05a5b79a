// SPDX-License-Identifier: Apache-2.0
//
// Time of a forward under Node.js, each module in turn: node --no-liftoff bench/web.mjs SITE WEIGHTS [SIDE], SITE being
// what the preset wasm built. Milliseconds of the thread, least and median of 8 runs of 8 forwards; --no-liftoff, since
// what counts is the code of the optimizing compiler, which comes in late on a busy machine.
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [site, weights, side = 224] = process.argv.slice(2);
const { load } = await import(pathToFileURL(resolve(site, 'efficientvit.js')));
const now = () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
};
const networks = [];
for (const name of ['efficientvit-relaxed.wasm', 'efficientvit.wasm']) {
    const network = await load(pathToFileURL(weights), { wasm: await readFile(join(site, name)) });
    networks.push({ name, network, times: [] });
}
const shape = [1, 3, Number(side), Number(side)], input = new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5);
for (const { network } of networks) await network.forward(input, shape);
for (let run = 0; run < 8; ++run) {
    for (const { network, times } of networks) {
        const begin = now();
        for (let i = 0; i < 8; ++i) await network.forward(input, shape);
        times.push((now() - begin) / 8);
    }
}
for (const { name, network, times } of networks) {
    times.sort((a, b) => a - b);
    console.log(`${network.info.name}, ${side} x ${side}, ${name}: ${times[0].toFixed(2)}, ${times[4].toFixed(2)} ms`);
}
