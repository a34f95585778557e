function lit_windows(code){
    const windows = [];
    for (let window = 0; code >> window; window++) {
        if (code >> window & 1) {
            windows.push(window);
        }
    }
    return windows;
}
