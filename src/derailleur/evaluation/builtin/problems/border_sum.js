function border_sum(grid){
    let total = 0;
    grid.forEach((values, row) => {
        values.forEach((value, column) => {
            if (row === 0 || row === grid.length - 1 || column === 0 || column === values.length - 1) {
                total += value;
            }
        });
    });
    return total;
}
