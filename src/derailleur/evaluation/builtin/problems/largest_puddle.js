function largest_puddle(yard){
    const seen = new Set();
    function size(row, column) {
        const key = `${row},${column}`;
        if (yard[row]?.[column] !== '~' || seen.has(key)) {
            return 0;
        }
        seen.add(key);
        return 1 + size(row - 1, column) + size(row + 1, column) + size(row, column - 1) + size(row, column + 1);
    }
    let largest = 0;
    for (let row = 0; row < yard.length; row++) {
        for (let column = 0; column < yard[row].length; column++) {
            largest = Math.max(largest, size(row, column));
        }
    }
    return largest;
}
