function swap_bytes(number){
    let swapped = 0;
    for (let step = 0; step < 4; step++) {
        swapped = 256 * swapped + number % 256;
        number = Math.floor(number / 256);
    }
    return swapped;
}
