// SPDX-License-Identifier: Apache-2.0
//
// A web worker that runs a program for WASI: { program: URL, args, env, files: URL }, answered by { text } for what it
// prints and { code } at its end. Files are read only, each fetched whole from `files` when it is opened.

class Exit extends Error {}

/** What WASI's preview 1 names errno. */
const badf = 8, noent = 44, nosys = 52, spipe = 70;

function system({ args, env, files }, memory) {
    const view = () => new DataView(memory().buffer), bytes = (at, size) => new Uint8Array(memory().buffer, at, size);
    const encoder = new TextEncoder(), decoder = new TextDecoder();
    const open = new Map([[3, { root: true }]]);  // 0, 1, 2: standard streams; 3: the folder /

    const sizes = (texts) => (count, size) => {
        view().setUint32(count, texts.length, true);
        view().setUint32(size, texts.reduce((sum, text) => sum + encoder.encode(text).length + 1, 0), true);
        return 0;
    };
    const texts = (all) => (pointers, to) => {
        all.forEach((text, i) => {
            const coded = encoder.encode(`${text}\0`);
            view().setUint32(pointers + 4 * i, to, true);
            bytes(to, coded.length).set(coded);
            to += coded.length;
        });
        return 0;
    };
    const vectors = (at, count) => Array.from({ length: count }, (_, i) =>
        bytes(view().getUint32(at + 8 * i, true), view().getUint32(at + 8 * i + 4, true)));
    const fetchNow = (path) => {
        const request = new XMLHttpRequest();
        request.open('GET', files + path, false);  // a worker may wait
        request.responseType = 'arraybuffer';
        request.send();
        return request.status === 200 ? new Uint8Array(request.response) : undefined;
    };
    /** A file's bytes from `from` on. */
    const copy = (fd, from, at, count, read) => {
        const data = open.get(fd)?.data;
        if (data === undefined) return badf;
        let sum = 0;
        for (const to of vectors(at, count)) {
            const part = data.subarray(from + sum, from + sum + to.length);
            to.set(part);
            sum += part.length;
        }
        view().setUint32(read, sum, true);
        return 0;
    };
    const type = (fd) => (fd < 3 ? 2 : open.get(fd)?.root ? 3 : 4);  // character device, folder, file
    const environment = Object.entries(env).map(([name, value]) => `${name}=${value}`);

    return {
        args_sizes_get: sizes(args), args_get: texts(args),
        environ_sizes_get: sizes(environment), environ_get: texts(environment),
        clock_time_get: (clock, precision, to) => {
            view().setBigUint64(to, BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6)), true);
            return 0;
        },
        random_get: (to, size) => {
            crypto.getRandomValues(bytes(to, size));
            return 0;
        },
        proc_exit: (code) => { throw Object.assign(new Exit(), { code }); },
        fd_prestat_get: (fd, to) => {
            if (fd !== 3) return badf;
            view().setUint32(to, 0, true);
            view().setUint32(to + 4, 1, true);
            return 0;
        },
        fd_prestat_dir_name: (fd, to) => {
            bytes(to, 1)[0] = '/'.charCodeAt(0);
            return 0;
        },
        fd_fdstat_get: (fd, to) => {
            if (fd > 2 && !open.has(fd)) return badf;
            bytes(to, 24).fill(0);
            bytes(to, 1)[0] = type(fd);
            bytes(to + 8, 16).fill(255);  // may do all
            return 0;
        },
        fd_filestat_get: (fd, to) => {
            if (!open.has(fd)) return badf;
            bytes(to, 64).fill(0);
            bytes(to + 16, 1)[0] = type(fd);
            view().setBigUint64(to + 32, BigInt(open.get(fd).data?.length ?? 0), true);
            return 0;
        },
        path_filestat_get: (fd, flags, path, length, to) => {
            const data = fetchNow(decoder.decode(bytes(path, length)));
            if (data === undefined) return noent;
            bytes(to, 64).fill(0);
            bytes(to + 16, 1)[0] = 4;
            view().setBigUint64(to + 32, BigInt(data.length), true);
            return 0;
        },
        path_open: (fd, flags, path, length, create, rights, inheriting, fdflags, to) => {
            const data = fetchNow(decoder.decode(bytes(path, length)));
            if (data === undefined) return noent;
            const opened = 1 + Math.max(...open.keys());
            open.set(opened, { data, at: 0 });
            view().setUint32(to, opened, true);
            return 0;
        },
        fd_read: (fd, at, count, read) => {
            const error = copy(fd, open.get(fd)?.at, at, count, read);
            if (error === 0) open.get(fd).at += view().getUint32(read, true);
            return error;
        },
        fd_pread: (fd, at, count, from, read) => copy(fd, Number(from), at, count, read),
        fd_seek: (fd, offset, whence, to) => {
            const file = open.get(fd);
            if (file?.data === undefined) return fd < 3 ? spipe : badf;
            file.at = Number(offset) + [0, file.at, file.data.length][whence];
            view().setBigUint64(to, BigInt(file.at), true);
            return 0;
        },
        fd_write: (fd, at, count, written) => {
            if (fd !== 1 && fd !== 2) return badf;
            let sum = 0;
            for (const part of vectors(at, count)) {
                postMessage({ text: decoder.decode(part.slice()) });
                sum += part.length;
            }
            view().setUint32(written, sum, true);
            return 0;
        },
        fd_close: (fd) => (open.delete(fd) ? 0 : badf),
    };
}

onmessage = async ({ data: given }) => {
    try {
        const module = await WebAssembly.compileStreaming(fetch(given.program));
        let exports;
        const known = system(given, () => exports.memory), imports = {};
        for (const { module: from, name } of WebAssembly.Module.imports(module)) {
            (imports[from] ??= {})[name] = known[name] ?? (() => nosys);
        }
        ({ exports } = await WebAssembly.instantiate(module, imports));
        exports._start();
        postMessage({ code: 0 });
    } catch (error) {
        if (!(error instanceof Exit)) postMessage({ text: `${error.stack ?? error}\n` });
        postMessage({ code: error.code ?? 1 });
    }
};
