public static String threeInARow(ArrayList<String> board) {
    String cells = String.join("", board);
    int[][] lines = {{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}};
    for (int[] line : lines) {
        char first = cells.charAt(line[0]);
        if (first != '.' && first == cells.charAt(line[1]) && first == cells.charAt(line[2])) {
            return String.valueOf(first);
        }
    }
    return "-";
}
