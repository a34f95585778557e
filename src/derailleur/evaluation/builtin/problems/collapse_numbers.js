function collapse_numbers(numbers){
    const parts = [];
    let start = 0;
    while (start < numbers.length) {
        let end = start;
        while (end + 1 < numbers.length && numbers[end + 1] === numbers[end] + 1) {
            end += 1;
        }
        if (end - start >= 2) {
            parts.push(`${numbers[start]}-${numbers[end]}`);
        } else {
            parts.push(...numbers.slice(start, end + 1));
        }
        start = end + 1;
    }
    return parts.join(',');
}
