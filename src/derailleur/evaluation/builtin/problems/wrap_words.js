function wrap_words(text, width){
    const lines = [];
    for (const word of text.split(' ').filter(Boolean)) {
        const last = lines.length - 1;
        if (last >= 0 && lines[last].length + 1 + word.length <= width) {
            lines[last] += ' ' + word;
        } else {
            lines.push(word);
        }
    }
    return lines;
}
