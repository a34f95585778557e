public static Triplet<Long, Long, Long> nextDay(long year, long month, long day) {
    long[] lengths = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)) {
        lengths[1] = 29;
    }
    if (day < lengths[(int) month - 1]) {
        return Triplet.with(year, month, day + 1);
    }
    if (month < 12) {
        return Triplet.with(year, month + 1, 1L);
    }
    return Triplet.with(year + 1, 1L, 1L);
}
