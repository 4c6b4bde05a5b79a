// SPDX-License-Identifier: Apache-2.0
//
// A headless Firefox or Chromium, driven by WebDriver BiDi over Node.js's own WebSocket. Firefox speaks it itself, Chromium
// by its chromedriver. Only what page_test.mjs and wasi_in_browser.mjs need.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, delimiter, join, resolve as absolute } from 'node:path';

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** What a promise gives, or an error where it gives nothing for so many seconds. Nothing here waits for a browser without it. */
function within(seconds, what, promise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${what}: nothing for ${seconds} s`)), 1000 * seconds);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What the first line of a program's output that fits `pattern` captures. */
function announced(child, pattern) {
    return new Promise((resolve, reject) => {
        let printed = '';
        const failure = (what) => () => reject(new Error(`${child.spawnfile} ${what}: ${printed}`));
        child.once('error', failure('cannot be run'));
        child.once('exit', failure('ended'));
        for (const stream of [child.stdout, child.stderr]) {
            stream.on('data', (data) => {
                printed += data;
                const match = pattern.exec(printed);
                if (match !== null) resolve(match[1]);
            });
        }
    });
}

// Browsers are process groups of their own, so that what one of them has started can be ended with it; with this process
// too, unless that is killed.
const groups = new Set();
function kill(group) {
    groups.delete(group);
    try {
        process.kill(-group, 'SIGKILL');
    } catch {
        // nothing is left of it
    }
}
process.once('exit', () => groups.forEach(kill));
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

/** Where a program is; chromedriver wants to know. */
function found(program) {
    const folders = program.includes('/') ? ['.'] : process.env.PATH.split(delimiter);
    return folders.map((folder) => absolute(folder, program)).find(existsSync) ?? program;
}

const keys = { ArrowLeft: '\uE012', ArrowUp: '\uE013', ArrowRight: '\uE014', ArrowDown: '\uE015', Enter: '\uE007', Tab: '\uE004' };

export class Browser {
    #seconds;
    #process;
    #folder;
    #socket;
    #context;
    #calls = new Map();
    #last = 0;
    /** What pages have thrown, or written to the console as errors. */
    errors = [];

    /**
     * program: firefox… or chromium…. dark: what prefers-color-scheme asks for. relaxedSimd: false switches it off in Firefox.
     * seconds: how long to wait for any one answer. A browser that does not start is started once more: on a busy machine one
     * hangs now and then.
     */
    static async start(program, options = {}) {
        return Browser.#startOnce(program, options).catch((error) => {
            console.error(`${program} is started once more: ${error.message}`);
            return Browser.#startOnce(program, options);
        });
    }

    static async #startOnce(program, { dark = false, relaxedSimd = true, seconds = 60 }) {
        const browser = new Browser();
        browser.#seconds = seconds;
        browser.#folder = await mkdtemp(join(tmpdir(), 'efficientvit-browser-'));
        try {
            await (/firefox/.test(basename(program)) ? browser.#firefox(program, dark, relaxedSimd) : browser.#chromium(program, dark));
            await browser.send('session.subscribe', { events: ['log.entryAdded'] });
            browser.#context = (await browser.send('browsingContext.getTree', {})).contexts[0].context;
        } catch (error) {
            await browser.close();
            throw error;
        }
        return browser;
    }

    #run(program, args, pattern) {
        this.#process = spawn(program, args, { detached: true, env: { ...process.env, TMPDIR: this.#folder } });
        if (this.#process.pid !== undefined) groups.add(this.#process.pid);
        return within(this.#seconds, program, announced(this.#process, pattern));
    }

    async #firefox(program, dark, relaxedSimd) {
        await writeFile(join(this.#folder, 'user.js'), Object.entries({
            'layout.css.prefers-color-scheme.content-override': dark ? 0 : 1,
            'javascript.options.wasm_relaxed_simd': relaxedSimd,
            'app.update.disabledForTesting': true,
            'datareporting.policy.dataSubmissionEnabled': false,
        }).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${value});\n`).join(''));
        const args = ['--headless', '--no-remote', '--remote-debugging-port', '0', '--profile', this.#folder, 'about:blank'];
        await this.#connect(`${await this.#run(program, args, /WebDriver BiDi listening on (ws:\S+)/)}/session`);
        await this.send('session.new', { capabilities: {} });
    }

    async #chromium(program, dark) {
        const port = await this.#run(process.env.CHROMEDRIVER ?? 'chromedriver', ['--port=0'], /successfully on port (\d+)/);
        const args = ['--headless=new', '--no-sandbox', '--disable-gpu', `--user-data-dir=${this.#folder}`,
                      `--blink-settings=preferredColorScheme=${dark ? 0 : 1}`];
        const answer = fetch(`http://127.0.0.1:${port}/session`, {
            method: 'POST',
            body: JSON.stringify({ capabilities: { alwaysMatch: { webSocketUrl: true, 'goog:chromeOptions': { binary: found(program), args } } } }),
        }).then(async (response) => ({ ok: response.ok, ...await response.json() }));
        const { ok, value } = await within(this.#seconds, program, answer);
        if (!ok) throw new Error(value.message);
        await this.#connect(value.capabilities.webSocketUrl);
    }

    async #connect(url) {
        this.#socket = new WebSocket(url);
        this.#socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
        await within(this.#seconds, url, new Promise((resolve, reject) => {
            Object.assign(this.#socket, { onopen: resolve, onerror: () => reject(new Error(`${url} cannot be reached`)) });
        }));
        this.#socket.onclose = () => {
            for (const { reject } of this.#calls.values()) reject(new Error('the browser ended'));
        };
    }

    #receive({ id, type, result, error, message, method, params }) {
        if (method === 'log.entryAdded' && params.level === 'error') this.errors.push(params.text);
        const call = this.#calls.get(id);
        this.#calls.delete(id);
        type === 'success' ? call?.resolve(result) : call?.reject(new Error(`${error}: ${message}`));
    }

    send(method, params) {
        if (this.#socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error('the browser ended'));
        return within(this.#seconds, method, new Promise((resolve, reject) => {
            this.#calls.set(++this.#last, { resolve, reject });
            this.#socket.send(JSON.stringify({ id: this.#last, method, params }));
        }));
    }

    /** One of the protocol's commands to the page. */
    #page(method, params) {
        return this.send(method, { context: this.#context, ...params });
    }

    resize(width, height) {
        return this.#page('browsingContext.setViewport', { viewport: { width, height }, devicePixelRatio: 1 });
    }

    /** Goes there, and waits until it is loaded. */
    open(url) {
        return this.#page('browsingContext.navigate', { url, wait: 'complete' });
    }

    async #script(expression) {
        const { type, result, exceptionDetails } = await this.send(
            'script.evaluate', { expression, target: { context: this.#context }, awaitPromise: true });
        if (type === 'exception') throw new Error(exceptionDetails.text);
        return result;
    }

    /** The value of an expression in the page, as far as JSON has it. */
    async evaluate(expression) {
        const { value } = await this.#script(`(async () => JSON.stringify(await (${expression})) ?? "null")()`);
        return JSON.parse(value);
    }

    /** Waits until an expression is true. */
    async until(expression, seconds = 120) {
        for (const end = Date.now() + 1000 * seconds; Date.now() < end; await sleep(20)) {
            if (await this.evaluate(expression).catch(() => false)) return;  // between two pages there is nothing
        }
        throw new Error(`still not so: ${expression}; the page says: ${await this.evaluate('document.body.innerText')}`);
    }

    click(x, y) {
        const actions = [
            { type: 'pointerMove', x: Math.round(x), y: Math.round(y) }, { type: 'pointerDown', button: 0 }, { type: 'pointerUp', button: 0 },
        ];
        return this.#page('input.performActions', { actions: [{ type: 'pointer', id: 'mouse', actions }] });
    }

    press(key) {
        const actions = ['keyDown', 'keyUp'].map((type) => ({ type, value: keys[key] ?? key }));
        return this.#page('input.performActions', { actions: [{ type: 'key', id: 'keyboard', actions }] });
    }

    /** Gives files to an <input type="file">. */
    async choose(selector, files) {
        const { sharedId } = await this.#script(`document.querySelector(${JSON.stringify(selector)})`);
        await this.#page('input.setFiles', { element: { sharedId }, files });
    }

    /** The whole page, as a PNG. */
    async screenshot(file) {
        const { data } = await this.#page('browsingContext.captureScreenshot', { origin: 'document' });
        await writeFile(file, Buffer.from(data, 'base64'));
    }

    async close() {
        const { pid, exitCode, signalCode } = this.#process ?? {};
        if (pid !== undefined && exitCode === null && signalCode === null) {
            const ended = new Promise((resolve) => this.#process.once('exit', resolve));
            // chromedriver ends its Chromium with the session, and Firefox itself.
            if (this.#socket !== undefined) await this.send('browser.close', {}).catch(() => {});
            this.#process.kill();
            await within(this.#seconds, 'the end', ended).catch(() => {});
        }
        if (pid !== undefined) kill(pid);
        for (const stream of this.#process?.stdio ?? []) stream?.destroy();
        this.#socket?.close();
        await rm(this.#folder, { recursive: true, force: true, maxRetries: 10 });
    }
}
