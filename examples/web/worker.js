// SPDX-License-Identifier: Apache-2.0
//
// A web worker that computes for a page, which so never stands still. Messages { id, method, arguments }, answered by
// { id, result } or { id, error }, in between { id, progress }.
import { hasRelaxedSimd, load } from './efficientvit.js';

let network;

const methods = {
    async load(source, options, id) {
        network?.close();
        network = undefined;
        network = await load(source, { ...options, onProgress: (progress) => postMessage({ id, progress }) });
        return { ...network.info, relaxed: hasRelaxedSimd() };
    },
};

onmessage = async ({ data: { id, method, arguments: given } }) => {
    try {
        if (methods[method] === undefined && network === undefined) throw new Error('no weights are loaded yet');
        const begin = performance.now();
        const result = await (methods[method]?.(...given, id) ?? network[method](...given));
        postMessage({ id, result, milliseconds: performance.now() - begin });
    } catch (error) {
        postMessage({ id, error: error.message });
    }
};
