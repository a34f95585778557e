public static HashMap<String,Long> stockAfter(ArrayList<Pair<String, Long>> deliveries) {
    HashMap<String, Long> stock = new HashMap<>();
    for (Pair<String, Long> delivery : deliveries) {
        long number = stock.getOrDefault(delivery.getValue0(), 0L) + delivery.getValue1();
        stock.put(delivery.getValue0(), Math.max(number, 0));
    }
    stock.values().removeIf(number -> number == 0);
    return stock;
}
