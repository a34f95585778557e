public static ArrayList<String> topCustomers(ArrayList<Pair<String, Long>> orders, long count) {
    TreeMap<String, Long> spent = new TreeMap<>();
    for (Pair<String, Long> order : orders) {
        spent.merge(order.getValue0(), order.getValue1(), Long::sum);
    }
    ArrayList<String> names = new ArrayList<>(spent.keySet());
    names.sort(Comparator.comparing(name -> -spent.get(name)));
    return new ArrayList<>(names.subList(0, (int) Math.min(count, names.size())));
}
