// No answer is lost. Gradio's server ends a page's stream of answers behind the last one it knows of. What is
// asked at that very moment comes too late for that stream, while the page, which has not read the end yet,
// opens no other: it would wait for ever. So the end is passed on only when nothing is waited for, and the
// stream is opened anew otherwise. A stream that breaks while nothing is waited for counts as ended.
(() => {
    const plain = window.fetch;
    const END = 'close_stream';
    const waiting = new Set();  // what was asked and is not answered yet
    const ahead = new Set();  // what was answered before its name was known
    let asking = 0;  // requests on their way

    window.fetch = (...request) => {
        const url = new URL(request[0] instanceof Request ? request[0].url : request[0], location.href);
        if (url.pathname.endsWith('/queue/join')) return ask(request);
        if (url.pathname.endsWith('/queue/data')) return answers(request);
        return plain(...request);
    };

    async function ask(request) {
        asking++;
        try {
            const response = await plain(...request);
            const name = response.ok && (await response.clone().json()).event_id;
            if (name && !ahead.delete(name)) waiting.add(name);
            return response;
        } finally {
            asking--;
        }
    }

    async function answers([input, options]) {
        const open = () => plain(input instanceof Request ? input.clone() : input, options);
        const first = await open();
        if (!first.ok) return first;
        const stop = new AbortController();
        const body = new ReadableStream({
            start: output => passOn(first, open, output, stop.signal),
            cancel: () => stop.abort(),
        });
        return new Response(body, {status: first.status, headers: first.headers});
    }

    async function passOn(response, open, output, stopped) {
        const send = text => output.enqueue(new TextEncoder().encode(`${text}\n\n`));
        const end = () => {
            send(`data: {"msg": "${END}"}`);
            output.close();
        };
        try {
            while (response.ok) {
                let ended = false;
                for await (const text of messages(response, stopped)) {
                    const {msg, event_id} = JSON.parse(text.slice('data:'.length));
                    if (msg === 'process_completed' && !waiting.delete(event_id)) ahead.add(event_id);
                    ended = msg === END;
                    if (!ended) send(text);
                }
                if (stopped.aborted) return;
                while (asking) await new Promise(later => setTimeout(later, 10));
                if (!waiting.size) return end();
                if (!ended) break;
                response = await open();
            }
            throw new TypeError('the stream of answers broke');
        } catch (error) {
            if (stopped.aborted) return;
            if (!waiting.size && !asking) return end();
            waiting.clear();
            output.error(error);
        }
    }

    async function* messages(response, stopped) {
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        stopped.addEventListener('abort', () => reader.cancel().catch(() => {}));
        let text = '';
        for (;;) {
            const {done, value} = await reader.read();
            if (done) return;
            const parts = (text + value).split('\n\n');
            text = parts.pop();
            yield* parts.filter(part => part.startsWith('data:'));
        }
    }
})();
