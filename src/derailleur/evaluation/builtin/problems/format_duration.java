public static String formatDuration(long seconds) {
    long minutes = seconds / 60;
    long rest = seconds % 60;
    if (minutes < 60) {
        return String.format("%d:%02d", minutes, rest);
    }
    return String.format("%d:%02d:%02d", minutes / 60, minutes % 60, rest);
}
