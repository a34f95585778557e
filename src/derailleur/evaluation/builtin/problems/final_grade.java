public static float finalGrade(ArrayList<Pair<Float, Long>> marks) {
    float sum = 0;
    float weights = 0;
    for (Pair<Float, Long> mark : marks) {
        sum += mark.getValue0() * mark.getValue1();
        weights += mark.getValue1();
    }
    return weights == 0 ? 0 : sum / weights;
}
