function book_index(pages){
    const index = {};
    for (const page of Object.keys(pages).sort()) {
        for (const word of pages[page].toLowerCase().split(' ').filter(Boolean)) {
            index[word] = index[word] ?? [];
            if (!index[word].includes(page)) {
                index[word].push(page);
            }
        }
    }
    return index;
}
