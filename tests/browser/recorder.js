// What a page asked for and was told, the last of it, for the report of a test that fails.
(() => {
    const plain = window.fetch, told = window.told = [];
    const note = (...words) => {
        told.push(`${Math.round(performance.now())} ms ${words.join(' ')}`);
        if (told.length > 200) told.shift();
    };
    const complain = console.error;
    console.error = (...words) => {
        note('ERROR', ...words.map(word => word?.stack ?? word));
        complain(...words);
    };
    window.addEventListener('error', event => note('ERROR', event.message));
    window.addEventListener('unhandledrejection', event => note('ERROR', event.reason));
    addEventListener('click', ({target}) => note('click', target.id, target.innerText?.slice(0, 40)), true);

    window.fetch = async (...request) => {
        const url = String(request[0].url ?? request[0]);
        if (!/queue\/(join|data)|\/cancel|\/reset/.test(url)) return plain(...request);
        const path = url.split('gradio_api/').pop().split('?')[0];
        note('asks', path, String(request[1]?.body ?? '').replace(/^.*"fn_index"/, '"fn_index"').slice(0, 80));
        const response = await plain(...request);
        if (!path.endsWith('data')) {
            note('has', path, response.status, (await response.clone().text()).slice(0, 80));
            return response;
        }
        const heard = new TransformStream({
            transform(part, on) {
                for (const line of new TextDecoder().decode(part).split('\n\n')) {
                    const {1: kind, 2: event} = line.match(/"msg":"(\w+)"(?:,"event_id":"(\w+)")?/) ?? [];
                    if (kind) note('hears', kind, event?.slice(0, 6), line.match(/"success":(\w+)/)?.[1], line.length);
                }
                on.enqueue(part);
            },
            flush: () => note('the stream ended'),
        });
        return new Response(response.body.pipeThrough(heard), response);
    };
})();
