function quarter_turn(picture){
    if (picture.length === 0) {
        return [];
    }
    const rows = [...picture].reverse();
    return [...rows[0]].map((_, column) => rows.map((row) => row[column]).join(''));
}
