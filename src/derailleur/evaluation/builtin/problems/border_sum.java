public static long borderSum(ArrayList<ArrayList<Long>> grid) {
    long total = 0;
    for (int row = 0; row < grid.size(); row++) {
        ArrayList<Long> values = grid.get(row);
        for (int column = 0; column < values.size(); column++) {
            boolean isEdge = row == 0 || row == grid.size() - 1 || column == 0 || column == values.size() - 1;
            total += isEdge ? values.get(column) : 0;
        }
    }
    return total;
}
