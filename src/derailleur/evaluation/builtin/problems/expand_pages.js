function expand_pages(pages){
    const numbers = [];
    for (const part of pages.replaceAll(' ', '').split(',')) {
        if (part.includes('-')) {
            const [first, last] = part.split('-').map(Number);
            for (let page = first; page <= last; page++) {
                numbers.push(page);
            }
        } else if (part) {
            numbers.push(Number(part));
        }
    }
    return numbers;
}
