public static HashMap<String,ArrayList<String>> bookIndex(HashMap<String,String> pages) {
    HashMap<String, ArrayList<String>> index = new HashMap<>();
    for (String page : new TreeSet<>(pages.keySet())) {
        for (String word : pages.get(page).toLowerCase().split(" ")) {
            if (word.isEmpty()) {
                continue;
            }
            ArrayList<String> found = index.computeIfAbsent(word, key -> new ArrayList<>());
            if (!found.contains(page)) {
                found.add(page);
            }
        }
    }
    return index;
}
