function query_values(address){
    const values = {};
    const start = address.indexOf('?');
    const query = start === -1 ? '' : address.slice(start + 1);
    for (const part of query.split('&')) {
        const [name, ...rest] = part.split('=');
        if (name) {
            values[name] = rest.join('=');
        }
    }
    return values;
}
