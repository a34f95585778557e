function stock_after(deliveries){
    const stock = {};
    for (const [article, number] of deliveries) {
        stock[article] = Math.max((stock[article] ?? 0) + number, 0);
    }
    return Object.fromEntries(Object.entries(stock).filter(([, number]) => number > 0));
}
