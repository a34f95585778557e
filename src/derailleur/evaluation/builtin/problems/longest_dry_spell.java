public static long longestDrySpell(ArrayList<Float> rain, float limit) {
    long longest = 0;
    long days = 0;
    for (float amount : rain) {
        days = amount < limit ? days + 1 : 0;
        longest = Math.max(longest, days);
    }
    return longest;
}
