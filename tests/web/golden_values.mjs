// SPDX-License-Identifier: Apache-2.0
//
// tests/golden_values.hpp in JavaScript: weights made from their names, as a safetensors file.

const mask = (1n << 64n) - 1n;

function values(name, shape) {
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    const [offset, scale] = name.endsWith('running_mean') || name.endsWith('bias') ? [0, 0.1]
        : name.endsWith('running_var') ? [1, 0.5]
        : name.endsWith('gaussian_matrix') ? [0, 2]
        : shape.length !== 1 ? [0, Math.sqrt(6 / fanIn)]
        : name.includes('_module.') ? [0.15, 0.1] : [0.85, 0.2];
    let state = 0xcbf29ce484222325n;
    for (const byte of new TextEncoder().encode(name)) state = ((state ^ BigInt(byte)) * 0x100000001b3n) & mask;
    const out = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < out.length; ++i) {
        state = (state + 0x9e3779b97f4a7c15n) & mask;
        let z = state;
        z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
        z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
        z ^= z >> 31n;
        out[i] = offset + scale * (Number(z >> 40n) / 2 ** 23 - 1);
    }
    return out;
}

/** The bytes of a file with tensors of these names and shapes: { name: shape }. */
export function goldenFile(shapes) {
    const header = {}, parts = [];
    let size = 0;
    for (const [name, shape] of Object.entries(shapes)) {
        const data = values(name, shape);
        header[name] = { dtype: 'F32', shape, data_offsets: [size, size += data.byteLength] };
        parts.push(Buffer.from(data.buffer));
    }
    const text = Buffer.from(JSON.stringify(header)), length = Buffer.alloc(8);
    length.writeUInt32LE(text.length);
    return Buffer.concat([length, text, ...parts]);
}

/** The small SAM of examples/segment_anything. */
export const shapesSam = async (readFile) =>
    goldenFile(JSON.parse(await readFile(new URL('../data/names/keys_sam_shapes.json', import.meta.url))));

/** A picture in colors that change with each pixel. */
export function picture(width, height) {
    const data = new Uint8ClampedArray(4 * width * height);
    for (let y = 0; y < height; ++y) {
        for (let x = 0; x < width; ++x) data.set([x & 255, y & 255, (x * y) & 255, 255], 4 * (y * width + x));
    }
    return { width, height, data };
}

/**
 * What the native library gives with AVX-512 for a click at (320, 200) on picture(640, 400), with shapesSam: predicted IoU,
 * the best first, and pixels of each mask.
 */
export const nativeMasks = [[0.322984, 98905], [-2.033428, 236326], [-2.290741, 14440]];
