public static long elevatorDistance(ArrayList<Long> floors) {
    long distance = 0;
    long floor = 0;
    for (long stop : floors) {
        distance += Math.abs(stop - floor);
        floor = stop;
    }
    return distance + Math.abs(floor);
}
