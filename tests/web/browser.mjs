// SPDX-License-Identifier: Apache-2.0
//
// A headless Chromium, driven by its DevTools protocol over Node.js's own WebSocket. Only what page_test.mjs needs.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Browser {
    #process;
    #folder;
    #socket;
    #session;
    #calls = new Map();
    #last = 0;
    /** What pages have written to the console as errors. */
    errors = [];

    static async start(program) {
        const browser = new Browser();
        browser.#folder = await mkdtemp(join(tmpdir(), 'efficientvit-browser-'));
        browser.#process = spawn(program, [
            '--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--remote-debugging-port=0',
            `--user-data-dir=${browser.#folder}`, 'about:blank',
        ], { stdio: 'ignore' });
        let port, path;
        for (let i = 0; port === undefined; ++i) {
            if (i === 600) throw new Error(`${program} does not start`);
            await sleep(100);
            [port, path] = await readFile(join(browser.#folder, 'DevToolsActivePort'), 'utf8').then(
                (text) => text.split('\n'), () => []);
        }
        browser.#socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
        await new Promise((resolve, reject) => Object.assign(browser.#socket, { onopen: resolve, onerror: reject }));
        browser.#socket.onmessage = ({ data }) => browser.#receive(JSON.parse(data));
        const { targetId } = await browser.send('Target.createTarget', { url: 'about:blank' });
        browser.#session = (await browser.send('Target.attachToTarget', { targetId, flatten: true })).sessionId;
        for (const domain of ['Page', 'Runtime', 'DOM', 'Network', 'Log']) await browser.send(`${domain}.enable`);
        return browser;
    }

    #receive({ id, result, error, method, params }) {
        if (method === 'Runtime.exceptionThrown') this.errors.push(params.exceptionDetails.exception?.description);
        if (method === 'Log.entryAdded' && params.entry.level === 'error') this.errors.push(params.entry.text);
        const call = this.#calls.get(id);
        if (call === undefined) return;
        this.#calls.delete(id);
        error === undefined ? call.resolve(result) : call.reject(new Error(error.message));
    }

    send(method, params = {}) {
        return new Promise((resolve, reject) => {
            this.#calls.set(++this.#last, { resolve, reject });
            this.#socket.send(JSON.stringify({ id: this.#last, method, params, sessionId: this.#session }));
        });
    }

    async open(url) {
        await this.send('Page.navigate', { url });
    }

    /** The value of an expression in the page. */
    async evaluate(expression) {
        const { result, exceptionDetails } =
            await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
        if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description);
        return result.value;
    }

    /** Waits until an expression is true. */
    async until(expression, seconds = 120) {
        for (const end = Date.now() + 1000 * seconds; Date.now() < end; await sleep(20)) {
            if (await this.evaluate(expression).catch(() => false)) return;  // between two pages there is nothing
        }
        throw new Error(`still not so: ${expression}; the page says: ${await this.evaluate('document.body.innerText')}`);
    }

    async click(x, y) {
        for (const type of ['mousePressed', 'mouseReleased']) {
            await this.send('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
        }
    }

    async press(key) {
        for (const type of ['rawKeyDown', 'keyUp']) await this.send('Input.dispatchKeyEvent', { type, key, code: key });
    }

    /** Gives files to an <input type="file">. */
    async choose(selector, files) {
        const { root } = await this.send('DOM.getDocument');
        const { nodeId } = await this.send('DOM.querySelector', { nodeId: root.nodeId, selector });
        await this.send('DOM.setFileInputFiles', { nodeId, files });
    }

    async screenshot(file) {
        const { data } = await this.send('Page.captureScreenshot', { captureBeyondViewport: true });
        await writeFile(file, Buffer.from(data, 'base64'));
    }

    async close() {
        const ended = new Promise((resolve) => this.#process.once('exit', resolve));
        this.#process.kill();
        await ended;
        await rm(this.#folder, { recursive: true, force: true, maxRetries: 10 });
    }
}
