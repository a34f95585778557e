function three_in_a_row(board){
    const cells = board.join('');
    const lines = [
        [0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6],
    ];
    for (const line of lines) {
        const text = line.map((cell) => cells[cell]).join('');
        if (text === 'XXX' || text === 'OOO') {
            return text[0];
        }
    }
    return '-';
}
