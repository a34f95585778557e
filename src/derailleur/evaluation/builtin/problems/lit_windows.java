public static ArrayList<Long> litWindows(long code) {
    ArrayList<Long> windows = new ArrayList<>();
    for (long window = 0; code >> window != 0; window++) {
        if ((code >> window & 1) == 1) {
            windows.add(window);
        }
    }
    return windows;
}
