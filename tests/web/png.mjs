// SPDX-License-Identifier: Apache-2.0
//
// Reads the PNGs of the examples: gray or RGB, 8 bits, not interlaced. Node.js alone has no reader.
import { readFile } from 'node:fs/promises';
import { inflateSync } from 'node:zlib';

/** { width, height, channels, bytes }, row by row. */
export async function readPng(file) {
    const png = await readFile(file), parts = [];
    let width, height, channels;
    for (let at = 8; at < png.length; at += png.readUInt32BE(at) + 12) {
        const name = png.toString('latin1', at + 4, at + 8), data = png.subarray(at + 8, at + 8 + png.readUInt32BE(at));
        if (name === 'IDAT') parts.push(data);
        if (name !== 'IHDR') continue;
        [width, height, channels] = [data.readUInt32BE(0), data.readUInt32BE(4), { 0: 1, 2: 3 }[data[9]]];
        if (data[8] !== 8 || channels === undefined || data[12] !== 0) throw new Error(`${file}: a PNG of another kind`);
    }
    const lines = inflateSync(Buffer.concat(parts)), stride = channels * width, bytes = new Uint8Array(stride * height);
    for (let y = 0; y < height; ++y) {
        const filter = lines[(stride + 1) * y];
        for (let x = 0; x < stride; ++x) {
            const to = stride * y + x;
            const left = x >= channels ? bytes[to - channels] : 0, up = y > 0 ? bytes[to - stride] : 0;
            const corner = x >= channels && y > 0 ? bytes[to - stride - channels] : 0;
            const guess = left + up - corner;
            const nearest = [left, up, corner].reduce((a, b) => Math.abs(guess - b) < Math.abs(guess - a) ? b : a);
            bytes[to] = lines[(stride + 1) * y + 1 + x] + [0, left, up, (left + up) >> 1, nearest][filter];
        }
    }
    return { width, height, channels, bytes };
}

/** As ImageData has it: red, green, blue, alpha. */
export async function readPicture(file) {
    const { width, height, channels, bytes } = await readPng(file);
    const data = Uint8ClampedArray.from({ length: 4 * width * height }, (_, i) =>
        i % 4 === 3 ? 255 : bytes[channels * (i >> 2) + Math.min(i % 4, channels - 1)]);
    return { width, height, data };
}
