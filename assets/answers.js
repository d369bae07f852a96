// No answer is lost. Gradio's server ends a page's stream of answers behind the last one it knows of. What is
// asked at that very moment comes too late for that stream, while the page, which has not read the end yet,
// opens no other: it would wait for ever. So the end is passed on only when nothing is waited for, and the
// stream is opened anew otherwise. A stream that breaks while nothing is waited for counts as ended.
//
// And nothing is shown of what was stopped. Gradio's page goes on drawing what came of it before, over what
// the Stop button said, and takes its empty end for an error, which ends the stream for all others. So
// updates are passed on no faster than the page draws, and of an event that was cancelled none any more.
(() => {
    if (window.fetch.keepsAnswers) return;
    const plain = window.fetch, END = 'close_stream';
    const sessions = new Map();

    // names: of events that were begun and are not answered yet; early: answered before their name was known;
    // stopped: cancelled by the page
    const session = name => {
        if (!sessions.has(name)) {
            const [names, early, stopped, joining] = Array.from({length: 4}, () => new Set());
            sessions.set(name, {names, early, stopped, joining});
        }
        return sessions.get(name);
    };

    window.fetch = (...request) => {
        let url;
        try {
            url = new URL(request[0] instanceof Request ? request[0].url : request[0], document.baseURI);
        } catch {
            return plain(...request);
        }
        if (url.pathname.endsWith('/queue/join')) return join(request);
        if (url.pathname.endsWith('/queue/data')) return stream(request, session(url.searchParams.get('session_hash')));
        if (url.pathname.endsWith('/cancel')) forget(request);
        return plain(...request);
    };
    window.fetch.keepsAnswers = true;

    const body = request => {
        try {
            return JSON.parse(request[1]?.body) ?? {};
        } catch {
            return {};
        }
    };

    const forget = request => {
        const {session_hash, event_id} = body(request);
        if (session(session_hash).names.delete(event_id)) session(session_hash).stopped.add(event_id);
    };

    function join(request) {
        const own = session(body(request).session_hash);
        const named = plain(...request).then(async response => {
            const name = response.ok && (await response.clone().json().catch(() => ({}))).event_id;
            if (name && !own.early.delete(name)) own.names.add(name);
            return response;
        });
        const known = named.then(() => {}, () => {});
        own.joining.add(known);
        known.then(() => own.joining.delete(known));
        return named;
    }

    async function stream([input, options], own) {
        const open = () => plain(input instanceof Request ? input.clone() : input, options);
        const first = await open();
        if (!first.ok) {
            own.names.clear();
            return first;
        }
        const left = new AbortController();
        const answers = new ReadableStream({
            start: output => passOn(first, open, output, own, left.signal),
            cancel: () => left.abort(),
        });
        return new Response(answers, {status: first.status, headers: first.headers});
    }

    async function passOn(response, open, output, own, left) {
        const send = text => output.enqueue(new TextEncoder().encode(`${text}\n\n`));
        for (;;) {
            let broken = null;
            try {
                if (!await passedToEnd(response, send, own, left)) throw new TypeError('the stream of answers broke');
            } catch (error) {
                broken = error;
            }
            if (left.aborted) return;
            if (broken && own.names.size) {
                own.names.clear();
                return output.error(broken);
            }
            while (own.joining.size && !own.names.size) await Promise.race(own.joining);
            if (!own.names.size) {
                send(`data: {"msg": "${END}"}`);
                return output.close();
            }
            try {
                response = await open();
            } catch (error) {
                return output.error(error);
            }
        }
    }

    // whether the end was told
    async function passedToEnd(response, send, own, left) {
        if (!response.ok) return false;
        for await (const text of messages(response, left)) {
            const {msg, event_id} = JSON.parse(text.slice('data:'.length));
            if (msg === END) return true;
            if (own.stopped.has(event_id)) continue; // its end, too, of which there may be two
            if (msg === 'process_completed' && !own.names.delete(event_id)) own.early.add(event_id);
            send(text);
            if (msg === 'process_generating') await drawn();
        }
        return false;
    }

    // Wait until the page has drawn. For two frames, not one: Gradio gives each update to a timer of its own, and
    // the browser delays a timer that was set within another, so a quick next update would come before this one.
    const drawn = () => new Promise(done => {
        if (document.hidden) return done();
        requestAnimationFrame(() => requestAnimationFrame(done));
        setTimeout(done, 250);
    });

    async function* messages(response, left) {
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        const stop = () => reader.cancel().catch(() => {});
        left.addEventListener('abort', stop);
        try {
            let text = '';
            while (!left.aborted) {
                const {done, value} = await reader.read();
                if (done) return;
                const parts = (text + value).split('\n\n');
                text = parts.pop();
                yield* parts.filter(part => part.startsWith('data:'));
            }
        } finally {
            stop();
        }
    }
})();
