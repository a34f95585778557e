function seats_together(row, people){
    const start = row.indexOf('.'.repeat(people));
    return start === -1 ? undefined : start + 1;
}
