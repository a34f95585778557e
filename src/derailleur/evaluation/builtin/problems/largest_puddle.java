public static long largestPuddle(ArrayList<String> yard) {
    long largest = 0;
    HashSet<List<Integer>> seen = new HashSet<>();
    for (int row = 0; row < yard.size(); row++) {
        for (int column = 0; column < yard.get(row).length(); column++) {
            long size = 0;
            ArrayDeque<List<Integer>> waiting = new ArrayDeque<>(List.of(List.of(row, column)));
            while (!waiting.isEmpty()) {
                List<Integer> cell = waiting.pop();
                int y = cell.get(0), x = cell.get(1);
                if (y < 0 || y >= yard.size() || x < 0 || x >= yard.get(y).length()) {
                    continue;
                }
                if (yard.get(y).charAt(x) != '~' || !seen.add(cell)) {
                    continue;
                }
                size++;
                waiting.addAll(List.of(List.of(y - 1, x), List.of(y + 1, x), List.of(y, x - 1), List.of(y, x + 1)));
            }
            largest = Math.max(largest, size);
        }
    }
    return largest;
}
