public static long parkingFee(long minutes) {
    if (minutes <= 30) {
        return 0;
    }
    long hours = (minutes + 59) / 60;
    return Math.min(2 * hours, 15);
}
