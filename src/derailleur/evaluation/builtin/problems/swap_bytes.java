public static long swapBytes(long number) {
    long swapped = 0;
    for (int step = 0; step < 4; step++) {
        swapped = swapped << 8 | number & 255;
        number >>= 8;
    }
    return swapped;
}
