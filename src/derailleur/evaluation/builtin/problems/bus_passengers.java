public static long busPassengers(ArrayList<Pair<Long, Long>> stops, long seats) {
    long passengers = 0;
    long refused = 0;
    for (Pair<Long, Long> stop : stops) {
        passengers -= stop.getValue0();
        long boarding = Math.min(stop.getValue1(), seats - passengers);
        passengers += boarding;
        refused += stop.getValue1() - boarding;
    }
    return refused;
}
