function alone_in_room(log){
    const inside = new Set();
    for (const entry of log) {
        const name = entry.slice(1);
        if (entry[0] === '+') {
            inside.add(name);
        } else {
            inside.delete(name);
        }
    }
    return inside.size === 1 ? [...inside][0] : undefined;
}
