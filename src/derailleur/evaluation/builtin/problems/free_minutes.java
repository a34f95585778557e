public static long freeMinutes(long start, long end, ArrayList<Pair<Long, Long>> meetings) {
    long free = 0;
    for (long minute = start; minute < end; minute++) {
        boolean isFree = true;
        for (Pair<Long, Long> meeting : meetings) {
            if (meeting.getValue0() <= minute && minute < meeting.getValue1()) {
                isFree = false;
            }
        }
        if (isFree) {
            free++;
        }
    }
    return free;
}
