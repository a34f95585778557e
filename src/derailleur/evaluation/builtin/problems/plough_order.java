public static ArrayList<Long> ploughOrder(ArrayList<ArrayList<Long>> field) {
    ArrayList<Long> order = new ArrayList<>();
    for (int number = 0; number < field.size(); number++) {
        ArrayList<Long> row = new ArrayList<>(field.get(number));
        if (number % 2 == 1) {
            Collections.reverse(row);
        }
        order.addAll(row);
    }
    return order;
}
