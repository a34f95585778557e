function split_record(line){
    const fields = [''];
    let isQuoted = false;
    for (let place = 0; place < line.length; place++) {
        const character = line[place];
        if (character === '"' && isQuoted && line[place + 1] === '"') {
            fields[fields.length - 1] += '"';
            place += 1;
        } else if (character === '"') {
            isQuoted = !isQuoted;
        } else if (character === ',' && !isQuoted) {
            fields.push('');
        } else {
            fields[fields.length - 1] += character;
        }
    }
    return fields;
}
