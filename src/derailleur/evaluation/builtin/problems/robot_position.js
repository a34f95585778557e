function robot_position(commands){
    let [x, y, dx, dy] = [0, 0, 0, 1];
    for (const command of commands) {
        if (command === 'F') {
            x += dx;
            y += dy;
        } else if (command === 'L') {
            [dx, dy] = [-dy, dx];
        } else {
            [dx, dy] = [dy, -dx];
        }
    }
    return [x, y];
}
