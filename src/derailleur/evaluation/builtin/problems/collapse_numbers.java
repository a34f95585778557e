public static String collapseNumbers(ArrayList<Long> numbers) {
    ArrayList<String> parts = new ArrayList<>();
    int start = 0;
    while (start < numbers.size()) {
        int end = start;
        while (end + 1 < numbers.size() && numbers.get(end + 1) == numbers.get(end) + 1) {
            end++;
        }
        if (end - start >= 2) {
            parts.add(numbers.get(start) + "-" + numbers.get(end));
        } else {
            for (int index = start; index <= end; index++) {
                parts.add(numbers.get(index).toString());
            }
        }
        start = end + 1;
    }
    return String.join(",", parts);
}
